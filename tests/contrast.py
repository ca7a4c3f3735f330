"""How far text stands out from what is behind it, measured in a page."""

CONTRAST = """
const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
const light = (text) => rgb(text).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const paper = (element) => {
    for (let each = element; each; each = each.parentElement) {
        const color = getComputedStyle(each).backgroundColor;
        if (!color.endsWith(', 0)')) return color;
    }
};
const texts = 'h1, h2, h3, p, td, th, dd, dt, li, .plot span, label, summary';
return [...document.querySelectorAll(texts)]
    .filter((each) => each.checkVisibility())
    .map((each) => {
        const [a, b] = [light(getComputedStyle(each).color), light(paper(each))];
        return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), each.outerHTML.slice(0, 80)];
    }).sort((a, b) => a[0] - b[0])[0];
"""
"""The text that stands out least from what is behind it, as WCAG counts it."""
