// The open project: its row, its jobs as snapshot plus events, and how the events come.
import { get, query } from "./api.js";
import { follow, reduceJob } from "./events.js";
import { createContext, useContext, useEffect, useState } from "./lib.js";
import { ENDED } from "./words.js";

const JOBS = 40;
const SETTLE = 250;

export const ProjectContext = createContext(null);

/**
 * The open project: `{id, project, jobs, costs, stream, error, running, images, store}`. `jobs` are the newest first, each
 * as `GET /api/jobs/{id}` gives it, kept up to date by events; `images` are rows of progressions by their id.
 */
export const useProject = () => useContext(ProjectContext);

/** The session that jobs of the console are submitted in, one for each project. */
export const sessionOf = (projectId) => `console.${projectId}`;

class Store {
  constructor(projectId, changed) {
    this.id = projectId;
    this.changed = changed;
    this.followers = new Map();
    this.states = new Map();
    this.timers = new Map();
    this.closed = false;
    this.state = { id: projectId, project: null, jobs: [], images: {}, costs: null, ready: false, error: null, stream: "replaying", running: 0, store: this };
  }

  update(changes) {
    if (this.closed) return;
    this.state = { ...this.state, ...changes };
    this.state.running = this.state.jobs.filter((job) => !ENDED.has(job.status)).length;
    this.changed(this.state);
  }

  /** Read everything anew, then follow what comes after it. */
  async load() {
    try {
      // The cursor first: events between it and the snapshot come twice, and the reducer does not mind.
      await this.follow(sessionOf(this.id));
      const path = `api/projects/${encodeURIComponent(this.id)}`;
      const [project, jobs, costs] = await Promise.all([get(path), get(query(`${path}/jobs`, { limit: JOBS })), get(`${path}/costs`)]);
      this.update({ project, costs, jobs: this.merged(jobs.items), ready: true, error: null });
      for (const job of jobs.items) if (!ENDED.has(job.status)) this.follow(job.sessionId);
    } catch (error) {
      this.update({ error });
      if (error.status === 0 || error.status === 503) this.later("load", () => this.load(), 2000);
    }
  }

  async follow(sessionId) {
    if (this.followers.has(sessionId) || this.closed) return;
    this.followers.set(sessionId, () => {});
    let since;
    try {
      since = (await get(`_actor/${sessionId}/state`)).seq;
    } catch (error) {
      this.followers.delete(sessionId);
      throw error;
    }
    if (this.closed) return;
    const stop = follow(sessionId, since, {
      event: (event) => this.apply(event),
      state: (state) => {
        this.states.set(sessionId, state);
        const all = [...this.states.values()];
        this.update({ stream: all.includes("offline") ? "offline" : all.includes("replaying") ? "replaying" : "live" });
      },
      expired: () => {
        this.followers.delete(sessionId);
        this.states.delete(sessionId);
        this.load();
      },
    });
    this.followers.set(sessionId, stop);
  }

  apply(event) {
    const { jobId } = event.data;
    if (!jobId) return;
    const at = this.state.jobs.findIndex((job) => job.jobId === jobId);
    if (at < 0) {
      // Another tab or program submitted it.
      this.later(jobId, () => this.refresh(jobId), 0);
      return;
    }
    const job = reduceJob(this.state.jobs[at], event);
    if (job !== this.state.jobs[at]) this.update({ jobs: this.state.jobs.with(at, job) });
    // What events do not carry, such as costs and rows of images, is read once things have settled.
    if (event.type === "complete" || event.type === "fail" || event.type === "judge") this.later(jobId, () => this.refresh(jobId), SETTLE);
  }

  later(name, work, wait) {
    if (this.timers.has(name)) return;
    this.timers.set(name, setTimeout(() => { this.timers.delete(name); work(); }, wait));
  }

  /** Read one job with its images and the project's costs. */
  async refresh(jobId) {
    try {
      const path = `api/jobs/${encodeURIComponent(jobId)}`;
      const [job, images, costs] = await Promise.all([get(path), get(`${path}/progressions`), get(`api/projects/${encodeURIComponent(this.id)}/costs`)]);
      if (job.projectId !== this.id) return;
      this.update({ jobs: this.merged([job]), costs, images: { ...this.state.images, ...Object.fromEntries(images.items.map((row) => [row.id, row])) } });
      if (!ENDED.has(job.status)) this.follow(job.sessionId).catch(() => {});
    } catch (error) {
      if (error.status === 0 || error.status === 503) this.later(jobId, () => this.refresh(jobId), 2000);
    }
  }

  /** The jobs with these snapshots in them, newest first; what events told already is kept where they are ahead. */
  merged(fresh) {
    const jobs = new Map(this.state.jobs.map((job) => [job.jobId, job]));
    for (const job of fresh) jobs.set(job.jobId, mergeJob(jobs.get(job.jobId), job));
    return [...jobs.values()].sort((a, b) => b.createdAt - a.createdAt || (a.jobId < b.jobId ? 1 : -1));
  }

  close() {
    this.closed = true;
    for (const stop of this.followers.values()) stop();
    for (const timer of this.timers.values()) clearTimeout(timer);
  }
}

function mergeJob(old, fresh) {
  if (!old) return fresh;
  const status = ENDED.has(old.status) && !ENDED.has(fresh.status) ? old.status : fresh.status;
  const items = fresh.items.map((item, at) => {
    const known = old.items[at];
    if (ENDED.has(known.status) && !ENDED.has(item.status)) return { ...item, ...known };
    const shown = { ...known, ...item, progress: Math.max(known.progress, item.progress) };
    return { ...shown, previewUrl: item.previewUrl ?? known.previewUrl, progressionId: item.progressionId ?? known.progressionId };
  });
  return { ...fresh, status, items };
}

const NONE = { id: null, project: null, jobs: [], images: {}, costs: null, ready: false, error: null, stream: "offline", running: 0, store: null };

/** Keeps the project of the address open; `lastId` is the project that was open last. */
export function useOpenProject(projectId) {
  const [state, setState] = useState(NONE);
  const [lastId, setLast] = useState(null);
  useEffect(() => {
    if (projectId === null) {
      setState(NONE);
      return undefined;
    }
    setLast(projectId);
    const store = new Store(projectId, setState);
    setState(store.state);
    store.load();
    return () => store.close();
  }, [projectId]);
  return { ...(state.id === projectId ? state : { ...NONE, id: projectId }), lastId };
}
