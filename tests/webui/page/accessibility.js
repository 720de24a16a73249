/** What test_accessible.py asks of a page. Evaluated to an object of functions, each of which gives faults in words. */
({
  /** Texts whose contrast is too low (WCAG 1.4.3), whatever of a gradient lies behind them. What is disabled needs none. */
  contrast: () => {
    const pen = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
    const known = new Map();
    const rgba = (colour) => {
      if (!known.has(colour)) {
        pen.clearRect(0, 0, 1, 1);
        pen.fillStyle = colour;
        pen.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
        known.set(colour, [r, g, b, a / 255]);
      }
      return known.get(colour);
    };
    const over = ([r, g, b, a], below) => [r, g, b].map((value, i) => value * a + below[i] * (1 - a)).concat(1);
    const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const ratio = (a, b) => {
      const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
      return (high + 0.05) / (low + 0.05);
    };
    const stops = (image) => image.match(/(rgb|rgba|color|oklch|hsl|lab|oklab)\([^()]*\)/g) ?? [];
    /** All colours that may lie behind an element. */
    const behind = (element) => {
      const layers = [];
      for (let each = element; each; each = each.parentElement) {
        const style = getComputedStyle(each);
        const plain = rgba(style.backgroundColor);
        const image = stops(style.backgroundImage).map(rgba);
        layers.push([plain, ...image.filter(([, , , a]) => a > 0)]);
        if (plain[3] === 1 || image.some(([, , , a]) => a === 1)) break;
      }
      let found = [[...rgba(matchMedia('(prefers-color-scheme: dark)').matches ? 'black' : 'white')]];
      for (const [plain, ...images] of layers.reverse()) {
        found = found.map((below) => over(plain, below));
        if (images.length) found = found.flatMap((below) => images.map((each) => over(each, below)));
      }
      return found;
    };
    const faults = [];
    for (const element of document.querySelectorAll('body *')) {
      const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join('');
      if (!text || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
      if (element.closest(':disabled, [aria-hidden=true], .hidden-text, option, script, style, .skip, .impossible')) continue;
      const style = getComputedStyle(element);
      const size = parseFloat(style.fontSize);
      const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      const worst = Math.min(...behind(element).map((below) => ratio(over(rgba(style.color), below), below)));
      if (worst < (isLarge ? 3 : 4.5)) faults.push(`${worst.toFixed(2)} ${element.tagName}.${element.className}: ${text.slice(0, 30)}`);
    }
    return [...new Set(faults)];
  },

  /** Ids that are there twice, references that lead nowhere, pictures without a text. */
  attributes: () => {
    const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
    const pointing = ['aria-labelledby', 'aria-describedby', 'aria-controls', 'for'];
    const lost = pointing.flatMap((name) => [...document.querySelectorAll(`[${name}]`)].flatMap((element) =>
      element.getAttribute(name).split(/\s+/).filter((id) => !document.getElementById(id)).map((id) => `${name} ${id}`)));
    return [
      ...ids.filter((id, place) => ids.indexOf(id) !== place).map((id) => `twice: ${id}`),
      ...lost.map((each) => `leads nowhere: ${each}`),
      ...[...document.querySelectorAll('img:not([alt])')].map((image) => `no alt: ${image.src}`),
    ];
  },

  /** Begins to watch which of all that the Tab key should reach it does reach; `window.stops` has the rest. */
  watchStops: () => {
    const place = document.querySelector('dialog[open]') ?? document;
    const can = [...place.querySelectorAll('a[href], button, input, select, textarea, summary, audio[controls], [tabindex]')];
    const stops = can.filter((each) => each.tabIndex >= 0 && !each.disabled && each.checkVisibility() && !each.closest('[inert]'));
    const radios = stops.filter((each) => each.type === 'radio' && !each.checked);
    window.stops = new Set(stops.filter((each) => !radios.includes(each)));
    document.activeElement.blur();
    window.addEventListener('focusin', (event) => window.stops.delete(event.target));
    return window.stops.size;
  },
})
