'use strict';
// The tables of categories hold every stratum, one table body each. Show one, filter its rows, sort by a column.
for (const section of document.querySelectorAll('.categories')) {
  const table = section.querySelector('table');
  const bodies = [...table.tBodies];
  const controls = section.querySelector('.controls');
  const [select, filter, status] = ['select', 'input', 'output'].map((name) => controls.querySelector(name));
  const rowsOf = (body) => [...body.rows].slice(1); // the first row names the stratum

  const update = () => {
    const words = filter.value.trim().toLocaleLowerCase();
    bodies.forEach((body, i) => {
      body.hidden = String(i) !== select.value;
    });
    const rows = rowsOf(bodies[Number(select.value)]);
    let shown = 0;
    for (const row of rows) {
      const text = [...row.cells].filter((cell) => cell.dataset.text !== undefined || cell.scope === 'row');
      row.hidden = !text.some((cell) => cell.textContent.toLocaleLowerCase().includes(words));
      shown += row.hidden ? 0 : 1;
    }
    status.textContent = `${shown} of ${rows.length} rows`;
  };

  const number = (cell) => Number.parseFloat(cell.textContent.replaceAll(',', ''));
  const sortBy = (header, column) => {
    const isText = header.dataset.text !== undefined;
    const before = header.getAttribute('aria-sort');
    const ascending = before ? before !== 'ascending' : isText;
    for (const other of header.parentNode.cells) other.removeAttribute('aria-sort');
    header.setAttribute('aria-sort', ascending ? 'ascending' : 'descending');
    for (const body of bodies) {
      const rows = rowsOf(body).map((row) => [row, isText ? row.cells[column].textContent : number(row.cells[column])]);
      rows.sort(([, a], [, b]) => {
        if (isText) return ascending ? a.localeCompare(b) : b.localeCompare(a);
        if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b); // missing values last
        return ascending ? a - b : b - a;
      });
      body.append(...rows.map(([row]) => row));
    }
  };

  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener('click', () => sortBy(header, column));
  });
  select.addEventListener('change', update);
  filter.addEventListener('input', update);
  controls.hidden = false;
  section.classList.add('live');
  update();
}
