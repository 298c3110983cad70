"""What screens are made from: the three lines, lists with something beside them, pages of panels."""
