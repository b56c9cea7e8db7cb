"""What Python's huggingface_hub does, for hub.check.ts. usage: python hub.py COMMAND ARGUMENT …   Prints one JSON value.

  environment                what it makes of the environment variables
  snapshot ID                folder of the whole repository, fetched where need be
  cached ID FILE …           paths of files that are in the cache; no network
  cached-snapshot ID         folder of the repository in the cache; no network
  scan                       what it finds in the cache, and what it warns of
  upload FOLDER ID           uploads a folder to a repository that it makes
"""
import json
import sys

from huggingface_hub import HfApi, constants, get_token, hf_hub_download, scan_cache_dir, snapshot_download


def environment():
    return {
        "endpoint": constants.ENDPOINT,
        "cache": constants.HF_HUB_CACHE,
        "token": get_token(),
        "offline": constants.HF_HUB_OFFLINE,
    }


def cached(repo, *files):
    return [hf_hub_download(repo, file, local_files_only=True) for file in files]


def cached_snapshot(repo):
    return snapshot_download(repo, local_files_only=True)


def scan():
    info = scan_cache_dir()
    repos = [
        {
            "id": repo.repo_id,
            "bytes": repo.size_on_disk,
            "refs": {name: revision.commit_hash for name, revision in repo.refs.items()},
            "files": sorted(file.file_name for revision in repo.revisions for file in revision.files),
        }
        for repo in info.repos
    ]
    return {"repos": repos, "warnings": [str(warning) for warning in info.warnings]}


def upload(folder, repo):
    api = HfApi()
    api.create_repo(repo)
    return str(api.upload_folder(folder_path=folder, repo_id=repo))


COMMANDS = {
    "environment": environment,
    "snapshot": snapshot_download,
    "cached": cached,
    "cached-snapshot": cached_snapshot,
    "scan": scan,
    "upload": upload,
}
print(json.dumps(COMMANDS[sys.argv[1]](*sys.argv[2:])))
