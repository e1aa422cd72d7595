// Every text on the page against the ground that it stands on: the ratio of WCAG 2.2,
// 1.4.3, which asks for 4.5, and for 3 where the letters are large.
(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const channels = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];
  const ground = (e) => {
    const layers = [];
    for (; e; e = e.parentElement) {
      const c = channels(getComputedStyle(e).backgroundColor);
      if (c[3] > 0) layers.push(c);
      if (c[3] === 1) break;
    }
    return layers.reverse().reduce((under, c) => over(c, under), [255, 255, 255, 1]);
  };
  const luminance = (c) => c.slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const faint = new Set();
  let checked = 0;
  const check = (e, color, text) => {
    const style = getComputedStyle(e);
    const under = ground(e);
    const [a, b] = [luminance(over(channels(color), under)), luminance(under)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    checked++;
    if (ratio < (large ? 3 : 4.5)) faint.add(`"${text.trim().slice(0, 40)}" has a contrast of ${ratio.toFixed(2)}`);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n = walker.nextNode(); n; n = walker.nextNode()) {
    const e = n.parentElement;
    if (!n.nodeValue.trim() || !e.checkVisibility() || e.closest('.unseen, .skip, noscript')) continue;
    check(e, getComputedStyle(e).color, n.nodeValue);
  }
  for (const e of document.querySelectorAll('input')) check(e, getComputedStyle(e, '::placeholder').color, e.placeholder);
  for (const e of document.querySelectorAll('.data td')) {
    const name = getComputedStyle(e, '::before');
    if (name.content !== 'none') check(e, name.color, e.dataset.name);
  }
  return { Checked: checked, Faint: [...faint] };
})()
