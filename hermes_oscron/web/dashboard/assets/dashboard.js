// Makes the pages live: times in the reader's zone, new content while the page is visible. Every page works without it.

const POLL_MS = 5000, LOG_MS = 1000, RETRY_MS = 15000, TYPING_MS = 350
const root = document.documentElement
const skew = Number(root.dataset.now || 0) * 1000 - Date.now()
const now = () => (Date.now() + skew) / 1000
const two = number => String(number).padStart(2, "0")
const all = (selector, within = document) => within.querySelectorAll(selector)

// Times

function clockText(date, style) {
  const time = `${two(date.getHours())}:${two(date.getMinutes())}`
  if (style === "full")
    return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}:${two(date.getSeconds())}`
  const today = new Date(now() * 1000)
  if (date.toDateString() === today.toDateString()) return time
  const year = date.getFullYear() === today.getFullYear() ? "" : ` ${date.getFullYear()}`
  const [weekday, month] = date.toDateString().split(" ")
  return `${weekday} ${date.getDate()} ${month}${year} ${time}`
}

function showLocalTimes(within) {
  let differs = false
  for (const element of all("time[data-t]", within)) {
    const date = new Date(element.dataset.t * 1000)
    if (-date.getTimezoneOffset() * 60 === Number(element.dataset.o)) continue
    differs = true
    const text = clockText(date, element.dataset.f)
    if (element.dataset.f === "full") {
      const server = document.createElement("small")
      server.textContent = ` ${element.textContent} ${root.dataset.zone}`
      element.replaceChildren(text, server)
    } else element.textContent = text
  }
  const axis = document.querySelector(".axis text[data-t]")
  for (const text of all(".axis text[data-t]", within)) {
    const date = new Date(text.dataset.t * 1000)
    const [weekday] = date.toDateString().split(" ")
    text.textContent = date.getHours() + date.getMinutes() ? `${two(date.getHours())}:${two(date.getMinutes())}`
      : `${weekday} ${date.getDate()}`
  }
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone
  const zone = document.getElementById("zone"), other = document.getElementById("other-zone")
  if (zone && (differs || axis) && own && own !== root.dataset.zone) {
    zone.textContent = own
    zone.nextSibling.textContent = ", your zone"
    other.textContent = `; the server's is ${root.dataset.zone}`
  }
}

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]

function about(seconds) {
  const [size, unit] = UNITS.find(([size]) => seconds >= size) || UNITS[3]
  return `${Math.floor(seconds / size)} ${unit}`
}

function duration(seconds) {
  const parts = []
  let left = Math.max(0, Math.round(seconds)), first = true
  for (const [size, unit] of UNITS) {
    const count = Math.floor(left / size)
    left %= size
    if (count) parts.push(`${count} ${unit}`)
    if (!first) break
    if (count) first = false
  }
  return parts.join(" ") || "0 s"
}

function showRelativeTimes() {
  for (const element of all("[data-rel]")) {
    const away = element.dataset.rel - now()
    const text = Math.abs(away) < 1 ? "now" : away > 0 ? `in ${about(away)}` : `${about(-away)} ago`
    if (element.textContent !== text) element.textContent = text
  }
  for (const element of all("[data-since]")) element.textContent = duration(now() - element.dataset.since)
}

// New content

const notice = document.getElementById("notice")

function tell(text, link) {
  notice.hidden = !text
  notice.replaceChildren(text || "")
  if (link) {
    const anchor = Object.assign(document.createElement("a"), { href: link, textContent: "Log in" })
    notice.append(" ", anchor)
  }
}

class Away extends Error {}
class LoggedOut extends Error {}

async function ask(address, options = {}) {
  let response
  try {
    response = await fetch(address, { credentials: "same-origin", cache: "no-store", ...options })
  } catch {
    throw new Away()
  }
  if (response.status === 401 || new URL(response.url).pathname === "/login") {
    tell("Your login has expired.", `/login?next=${encodeURIComponent(location.pathname + location.search)}`)
    throw new LoggedOut()
  }
  if (response.status >= 502) throw new Away()
  return response
}

function isBusy(region) {
  return region.contains(document.activeElement) && document.activeElement.matches("input, textarea, select")
    || region.querySelector("details[open] form")
}

async function refresh() {
  const response = await ask(location.href)
  if (!response.ok) return
  const page = new DOMParser().parseFromString(await response.text(), "text/html")
  for (const region of all("[data-live]")) {
    const fresh = page.getElementById(region.id)
    if (!fresh || isBusy(region)) continue
    const focused = region.contains(document.activeElement) && document.activeElement.getAttribute("href")
    const open = [...all("details[open][id]", region)].map(each => each.id)
    region.replaceWith(fresh)
    for (const id of open) document.getElementById(id)?.setAttribute("open", "")
    if (focused) fresh.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true })
    showLocalTimes(fresh)
    followLog()
  }
  showRelativeTimes()
}

const seen = { list: null, running: null, cursors: {} }

async function look() {
  const profiles = (document.querySelector("[data-profiles]")?.dataset.profiles || "").split(" ").filter(Boolean)
  const list = (await ask("/api/crons?all_profiles=1", { method: "HEAD" })).headers.get("ETag")
  const running = [], ended = []
  for (const profile of profiles) {
    const headers = { "X-Hermes-Profile": profile }
    const status = await (await ask("/api/crons/status", { headers })).json()
    running.push(...Object.keys(status.running || {}), "|", ...Object.keys(status.queued || {}))
    const cursor = seen.cursors[profile]
    const address = cursor ? `/api/crons/recent?after=${cursor}` : `/api/crons/recent?since=${now()}`
    const recent = await (await ask(address, { headers })).json()
    if (cursor && recent.cursor !== cursor) ended.push(...recent.completions)
    seen.cursors[profile] = recent.cursor
  }
  const changed = seen.list !== null && (seen.list !== list || seen.running !== running.join(" ") || ended.length > 0)
  seen.list = list
  seen.running = running.join(" ")
  const failed = ended.filter(run => run.status !== "ok").map(run => run.name)
  document.getElementById("said").textContent = failed.length ? `Failed: ${failed.join(", ")}` : ""
  return changed
}

let waiting, polling = false, renewed = Date.now(), wasAway = false

async function poll() {
  clearTimeout(waiting)
  if (polling || document.hidden || !document.querySelector("[data-live]")) return
  let pause = POLL_MS
  polling = true
  try {
    const isOld = Date.now() - renewed > 60000 || document.querySelector("[data-poll]")
    if (await look() || isOld || wasAway) {
      renewed = Date.now()
      await refresh()
    }
    if (!notice.querySelector("a")) tell("")
    wasAway = false
  } catch (error) {
    if (error instanceof LoggedOut) return
    wasAway = true // also if the server went away in the middle of an answer
    pause = RETRY_MS
    tell("The server does not answer. This page shows what was known before, and tries again.")
  } finally {
    polling = false
  }
  waiting = setTimeout(poll, pause)
}

// The log of a run in progress

let following

function followLog() {
  const log = document.querySelector("[data-log]")
  if (!log || log === following) return
  following = log
  let offset = Number(log.dataset.offset)
  log.scrollTop = log.scrollHeight
  const step = async () => {
    if (log !== document.querySelector("[data-log]")) return
    if (!document.hidden) {
      try {
        const part = await (await ask(`${log.dataset.log}?offset=${offset}`)).json()
        const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8
        if (part.is_new) log.textContent = ""
        log.append(part.text)
        offset = part.next
        if (atEnd) log.scrollTop = log.scrollHeight
        if (!part.running) return void refresh()
      } catch (error) {
        if (error instanceof LoggedOut) return
      }
    }
    setTimeout(step, LOG_MS)
  }
  step()
}

// A schedule, explained while it is typed

for (const input of all("[data-explain]")) {
  const place = document.getElementById(input.dataset.explain)
  let typing, latest = 0
  const explain = async () => {
    const number = ++latest
    const profile = document.querySelector("[name=profile_of_job]")?.value || ""
    const query = new URLSearchParams({ schedule: input.value, profile })
    try {
      const text = await (await ask(`/explain?${query}`, { headers: { Accept: "text/html" } })).text()
      if (number !== latest) return
      const page = new DOMParser().parseFromString(text, "text/html")
      place.replaceChildren(...page.body.childNodes)
      showLocalTimes(place)
    } catch { /* the server explains it again when the form is sent */ }
  }
  const soon = () => {
    clearTimeout(typing)
    typing = setTimeout(explain, TYPING_MS)
  }
  input.addEventListener("input", soon)
  document.querySelector("[name=profile_of_job]")?.addEventListener("change", soon)
  place.addEventListener("click", event => {
    const form = event.target.closest("[data-use]")
    if (!form) return
    event.preventDefault()
    input.value = form.dataset.use
    input.focus()
    explain()
  })
}

// The defaults, scripts and targets of the profile for which a job is created

document.querySelector("select[name=profile_of_job]")?.addEventListener("change", async event => {
  try {
    const text = await (await ask(`/jobs/new?${new URLSearchParams({ profile: event.target.value })}`)).text()
    const page = new DOMParser().parseFromString(text, "text/html")
    for (const list of all("datalist")) list.replaceWith(page.getElementById(list.id))
    for (const field of all("form.job [id^='f-policy.']")) {
      const fresh = page.getElementById(field.id)
      if (field.options) field.options[0].text = fresh.options[0].text
      else field.placeholder = fresh.placeholder
    }
  } catch { /* they are only a help */ }
})

// Small forms behind a button close by Escape, and by a click elsewhere

function closeForms(except) {
  for (const form of all("details.pop[open]")) {
    if (form === except) continue
    const hasFocus = form.contains(document.activeElement)
    form.removeAttribute("open")
    if (hasFocus) form.querySelector("summary").focus()
  }
}

document.addEventListener("keydown", event => { if (event.key === "Escape") closeForms() })
document.addEventListener("click", event => closeForms(event.target.closest("details.pop")))

// Search while typing

document.addEventListener("input", event => {
  const form = event.target.closest("[data-search]")
  if (!form) return
  clearTimeout(form.typing)
  form.typing = setTimeout(async () => {
    history.replaceState(null, "", `/?${new URLSearchParams(new FormData(form))}`)
    const text = event.target.value, at = event.target.selectionStart
    event.target.blur()
    await refresh()
    const input = document.querySelector("[data-search] [type=search]")
    input.value = text
    input.focus()
    input.setSelectionRange(at, at)
  }, TYPING_MS)
})

for (const form of all("form[method=post]")) form.addEventListener("submit", () => {
  setTimeout(() => all("button", form).forEach(button => { button.disabled = true }))
})

if (new URLSearchParams(location.search).has("done")) history.replaceState(null, "", location.pathname)
document.body.append(Object.assign(document.createElement("div"),
  { id: "said", className: "hidden", role: "status" }))
showLocalTimes(document)
showRelativeTimes()
setInterval(() => document.hidden || showRelativeTimes(), 1000)
followLog()
document.addEventListener("visibilitychange", poll)
window.addEventListener("pageshow", event => {
  all("button:disabled").forEach(button => { if (event.persisted) button.disabled = false })
})
poll()
