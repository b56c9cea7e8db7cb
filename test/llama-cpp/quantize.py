"""Quantises a GGUF file with llama.cpp's own code, from the libraries inside node-llama-cpp. Linux x64; nothing else to install.

  python3 quantize.py NODE_MODULES IN.gguf OUT.gguf FILE_TYPE    # FILE_TYPE: number in `general.file_type` (llama.h, enum llama_ftype)
"""
import ctypes
import pathlib
import sys

modules, source, target, file_type = sys.argv[1:]
folder = pathlib.Path(modules) / "@node-llama-cpp/linux-x64/bins/linux-x64"
for name in ("libggml-base.so", "libggml.v*.so"):
    ctypes.CDLL(str(next(folder.glob(name))), mode=ctypes.RTLD_GLOBAL)
llama = ctypes.CDLL(str(next(folder.glob("libllama.v*.so"))))


class Parameters(ctypes.Structure):
    """`llama_model_quantize_params` of llama.h, llama.cpp v0.5.0."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("nthread", "ftype", "output_tensor_type", "token_embedding_type")),
        *((name, ctypes.c_bool) for name in ("requantize", "quantize_output", "only_copy", "pure", "keep_split", "dry_run")),
        *((name, ctypes.c_void_p) for name in ("imatrix", "kv_overrides", "tt_overrides", "prune_layers")),
        ("max_buf_size", ctypes.c_size_t),
    ]


llama.llama_model_quantize_default_params.restype = Parameters
llama.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(Parameters)]
llama.llama_model_quantize.restype = ctypes.c_uint32
parameters = llama.llama_model_quantize_default_params()
# The structure is of another release where its first fields are not the documented defaults (LLAMA_FTYPE_MOSTLY_Q8_0; no other types).
assert (parameters.ftype, parameters.quantize_output, parameters.imatrix) == (7, True, None), "another llama.cpp: look at its llama.h"
parameters.ftype = int(file_type)
llama.llama_backend_init()
sys.exit(llama.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(parameters)))
