import { render } from 'preact'
import { App } from './app.tsx'
import { startWorkers } from './client.ts'
import { isServed, reachServer } from './reach.ts'
import './style.css'
import { Problem, problemOf } from './ui.tsx'

const page = document.getElementById('page')!

/** `fasp ui` computes for the page that it serves, and says what it is at; elsewhere the page has workers. */
async function start(): Promise<void> {
  if (!isServed()) return render(<App call={startWorkers()} />, page)
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

void start()
