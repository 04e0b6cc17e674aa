"""HTML read back strictly: what a page holds, and whether its markup is sound."""

from html.parser import HTMLParser

VOID = {'br', 'col', 'img', 'input', 'meta'}
# Phrasing content only: none of these may hold a block.
NO_BLOCKS = {'p', 'h1', 'h2', 'h3', 'h4', 'dt', 'caption', 'span', 'strong', 'a', 'label', 'button'}
BLOCKS = {'p', 'div', 'ul', 'li', 'dl', 'table', 'section', 'figure', 'h1', 'h2', 'h3', 'h4', 'nav'}
PARENTS = {
    'tr': {'thead', 'tbody'}, 'td': {'tr'}, 'th': {'tr'}, 'thead': {'table'}, 'tbody': {'table'}, 'caption': {'table'},
    'li': {'ul'}, 'dt': {'dl'}, 'dd': {'dl'}, 'option': {'select'}, 'figcaption': {'figure'},
}  # fmt: skip


class Node:
    """An element with attributes, children and text."""

    def __init__(self, name, attributes, parent):
        self.name, self.attributes, self.parent, self.content = name, attributes, parent, []

    @property
    def text(self):
        return ''.join(child if isinstance(child, str) else child.text for child in self.content)

    def all(self, *names, **attributes):
        """Descendants in document order, by name and attributes; ``class_`` for ``class``."""
        wanted = {key.rstrip('_').replace('_', '-'): value for key, value in attributes.items()}
        for child in self.content:
            if isinstance(child, Node):
                fits = all(child.attributes.get(key) == value for key, value in wanted.items())
                if (not names or child.name in names) and fits:
                    yield child
                yield from child.all(*names, **attributes)

    def first(self, *names, **attributes):
        return next(self.all(*names, **attributes))

    def rows(self):
        """A table's body: the texts of each row's cells."""
        return [
            [cell.text for cell in row.all('th', 'td')] for body in self.all('tbody') for row in body.all('tr')
        ]  # fmt: skip

    def names_in_rows(self):
        """A table's body rows by their first cell; rows that name a group are left out."""
        return {row[0]: row[1:] for row in self.rows() if len(row) > 1}


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.root = Node('', {}, None)
        self.open = self.root
        self.ids = []

    def handle_starttag(self, name, attributes):
        assert len(dict(attributes)) == len(attributes), f'{name}: an attribute twice'
        inside = ancestors(self.open)
        if name in BLOCKS:
            assert not NO_BLOCKS & set(inside), f'{name} inside {inside}'
        if name in PARENTS:
            assert self.open.name in PARENTS[name], f'{name} inside {self.open.name}'
        node = Node(name, dict(attributes), self.open)
        self.open.content.append(node)
        self.ids += [value for key, value in attributes if key == 'id']
        if name not in VOID:
            self.open = node

    def handle_startendtag(self, name, attributes):
        assert 'svg' in ancestors(self.open), f'{name} closes itself'
        self.handle_starttag(name, attributes)
        self.handle_endtag(name)

    def handle_endtag(self, name):
        assert self.open.name == name, f'{name} closes {self.open.name}'
        self.open = self.open.parent

    def handle_data(self, data):
        self.open.content.append(data)


def ancestors(node):
    names = []
    while node is not None and node.name:
        names.append(node.name)
        node = node.parent
    return names


def read(html):
    """The page's tree; fails on markup that is not sound."""
    assert html.startswith('<!DOCTYPE html>\n')
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader.open is reader.root, f'{reader.open.name} is not closed'
    assert len(set(reader.ids)) == len(reader.ids), 'an id twice'
    return reader.root
