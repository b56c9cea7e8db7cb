import { render } from 'preact'
import { App } from './app.tsx'
import { startWorkers } from './client.ts'
import { reachServer } from './reach.ts'
import './style.css'
import { Problem, problemOf } from './ui.tsx'

/** Set where the page is built. */
declare const FASP_LOCAL: boolean

const page = document.getElementById('page')!

/** Of `fasp ui`, which computes for the page that it serves, and says what it is at. */
async function startLocal(): Promise<void> {
  const call = reachServer()
  try {
    render(<App call={call} local={await call('state', null)} />, page)
  } catch (error) {
    render(
      <main>
        <h1>No key</h1>
        <Problem message={problemOf(error)} />
      </main>,
      page,
    )
  }
}

if (FASP_LOCAL) void startLocal()
else render(<App call={startWorkers()} />, page)
