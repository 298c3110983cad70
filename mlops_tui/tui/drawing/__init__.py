"""Drawing as plain data: text, colours, cells of lists, charts in braille. Knows no widget and no terminal."""
