'use strict';
// The tables of categories hold every stratum, one table body each. Show one, filter its rows, sort by a column.
for (const section of document.querySelectorAll('.categories')) {
  const table = section.querySelector('table');
  const bodies = [...table.tBodies];
  const headers = [...table.tHead.rows[0].cells];
  const [select, filter, status] = ['select', 'input', 'output'].map((name) => section.querySelector(name));
  const rowsOf = (body) => [...body.rows].slice(1); // the first row names the stratum
  const isText = (column) => column === 0 || headers[column].dataset.text !== undefined;

  const update = () => {
    const words = filter.value.trim().toLocaleLowerCase();
    bodies.forEach((body, i) => {
      body.hidden = i !== select.selectedIndex;
    });
    const rows = rowsOf(bodies[select.selectedIndex]);
    for (const row of rows) {
      row.hidden = ![...row.cells].some((cell, i) => isText(i) && cell.textContent.toLocaleLowerCase().includes(words));
    }
    status.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  };

  const sortBy = (header, column) => {
    const before = header.getAttribute('aria-sort');
    const ascending = before ? before !== 'ascending' : isText(column);
    for (const other of headers) other.removeAttribute('aria-sort');
    header.setAttribute('aria-sort', ascending ? 'ascending' : 'descending');
    const turn = ascending ? 1 : -1;
    const value = (row) => row.cells[column].textContent.replaceAll(',', '');
    const compare = (a, b) => {
      if (isText(column)) return turn * value(a).localeCompare(value(b));
      const [x, y] = [Number.parseFloat(value(a)), Number.parseFloat(value(b))];
      return Number.isNaN(x) || Number.isNaN(y) ? Number.isNaN(x) - Number.isNaN(y) : turn * (x - y); // missing last
    };
    for (const body of bodies) body.append(...rowsOf(body).sort(compare));
  };

  headers.forEach((header, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener('click', () => sortBy(header, column));
  });
  select.append(...bodies.map((body) => new Option(body.rows[0].textContent.trim())));
  select.addEventListener('change', update);
  filter.addEventListener('input', update);
  section.querySelector('.controls').hidden = false;
  section.classList.add('live');
  update();
}

// The navigation tells which section one is in: the last that has begun below it, or above.
{
  const nav = document.querySelector('nav');
  const strip = nav.querySelector('ul');
  const links = [...nav.querySelectorAll('a')];
  const targets = links.map((link) => document.getElementById(link.hash.slice(1)));
  let current = null;
  const update = () => {
    const line = nav.getBoundingClientRect().bottom + 24;
    let here = targets.findLastIndex((target) => target.getBoundingClientRect().top <= line);
    const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 2 && scrollY > 0;
    if (atEnd) here = links.length - 1;
    const link = links[Math.max(here, 0)];
    if (link === current) return;
    current?.removeAttribute('aria-current');
    link.setAttribute('aria-current', 'true');
    current = link;
    strip.scrollTo({ left: link.offsetLeft - (strip.clientWidth - link.offsetWidth) / 2 });
  };
  addEventListener('scroll', update, { passive: true });
  addEventListener('resize', update);
  update();
}
