// Curves of several runs, drawn anew while any of them goes on.
const curves = document.getElementById('curves');
setInterval(async () => {
  const answer = await fetch(`/compare/curves${location.search}`);
  const html = answer.ok ? await answer.text() : curves.innerHTML;
  if (html !== curves.innerHTML) curves.innerHTML = html;
}, 2000);
