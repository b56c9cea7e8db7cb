import { render } from 'preact'
import { App } from './app.tsx'
import { startWorkers } from './client.ts'
import './style.css'

render(<App call={startWorkers()} />, document.getElementById('page')!)
