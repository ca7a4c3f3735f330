// The list of runs, as it is now; what is chosen stays chosen. A single run is shown at once.
const body = document.querySelector('#runs tbody');
const chosen = () => [...body.querySelectorAll('input:checked')].map((each) => each.value);
let shown = body.innerHTML;
setInterval(async () => {
  if (document.hidden || body.contains(document.activeElement)) return;
  const answer = await fetch('/').catch(() => null);  // the server may be starting again
  if (!answer?.ok) return;
  if (answer.redirected) return location.replace(answer.url);
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  const html = page.querySelector('#runs tbody').innerHTML;
  if (html === shown) return;
  const before = chosen();
  body.innerHTML = shown = html;
  for (const each of body.querySelectorAll('input')) each.checked = before.includes(each.value);
}, 3000);
