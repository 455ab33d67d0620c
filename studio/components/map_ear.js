// Hears what is done on the map and asks the server, so that only the fragment in which this stands is drawn anew.
const HEARD = new WeakMap()
export default function (component) {
  const { data, parentElement, setTriggerValue } = component
  let own = HEARD.get(parentElement)
  if (!own) {
    HEARD.set(parentElement, own = {})
    own.listen = e => own.hears.includes(e.detail.kind) && own.ask(e.detail)
  }
  addEventListener("winnow-map-says", own.listen) // the same listener counts once
  own.hears = data.hears
  own.ask = ({ kind, value }) => setTriggerValue(kind, value)
  if (typeof data.row === "number") dispatchEvent(new CustomEvent("winnow-map-words", { detail: data }))
  if (data.cleared !== own.cleared) {
    if (own.cleared !== undefined) dispatchEvent(new CustomEvent("winnow-map-clear"))
    own.cleared = data.cleared
  }
  return () => removeEventListener("winnow-map-says", own.listen)
}
