#include "io/terminal_modes.hpp"

#include <gtest/gtest.h>

namespace vellum {
namespace {

std::string undo_of(std::initializer_list<std::string_view> pieces) {
  TerminalModes modes;
  for (const std::string_view piece : pieces)
    modes.see({reinterpret_cast<const u8*>(piece.data()), piece.size()});
  return modes.undo();
}

TEST(TerminalModes, TextAndMovesLeaveNothingToUndo) {
  EXPECT_EQ(undo_of({"login: \r\n\x1b[2J\x1b[1;1H\x1b[K\x1b(B\x1b[6n"}), "");
}

TEST(TerminalModes, WhatFirmwareAndProgramsLeaveIsUndone) {
  EXPECT_EQ(undo_of({"\x1b"
                     "c\x1b[?7l\x1b[2J"}),
            "\x1b[?7h");  // SeaBIOS
  EXPECT_EQ(undo_of({"\x1b[?25l"}), "\x1b[?25h");
  EXPECT_EQ(undo_of({"\x1b[?1049h\x1b[?1h\x1b[?2004h\x1b[?25l"}), "\x1b[?1049l\x1b[?1l\x1b[?25h\x1b[?2004l");
  EXPECT_EQ(undo_of({"\x1b[1000;1006;7l\x1b[?1000;1006h"}), "\x1b[?1000l\x1b[?1006l");
  EXPECT_EQ(undo_of({"\x1b[01;32mroot"}), "\x1b[0m");
  EXPECT_EQ(undo_of({"\x1b[?1h\x1b="}), "\x1b[?1l\x1b>");  // less, vim
  EXPECT_EQ(undo_of({"\x1b[>4;2m\x1b[4h"}), "\x1b[>4m\x1b[4l");
  EXPECT_EQ(undo_of({"\x1b(0lqqk"}), "\x1b(B");
  EXPECT_EQ(undo_of({"\x0elqqk"}), "\x0f");
  EXPECT_EQ(undo_of({"\x1b[2;20r"}),
            "\x1b"
            "7\x1b[r\x1b"
            "8");
}

TEST(TerminalModes, WhatTheGuestUndoesItselfIsDone) {
  EXPECT_EQ(undo_of({"\x1b[?7l\x1b[?25l\x1b[?25h\x1b[?7h"}), "");
  EXPECT_EQ(undo_of({"\x1b[1;31mred\x1b[0m\x1b[1m\x1b[m"}), "");
  EXPECT_EQ(undo_of({"\x1b[2;20r\x1b[r\x1b[2;20r\x1b[0r"}), "");
  EXPECT_EQ(undo_of({"\x1b[?1h\x1b=\x1b[?1l\x1b>\x1b[>4;2m\x1b[>4;m\x1b[4h\x1b[4l\x1b(0\x1b(B\x0e\x0f"}), "");
  EXPECT_EQ(undo_of({"\x1b[?1049h\x1b[?47l"}), "");
  EXPECT_EQ(undo_of({"\x1b[?7l\x1b[31m\x1b[?1049h\x1b"
                     "c"}),
            "");
}

TEST(TerminalModes, SequencesMayComeInPiecesAndBeCutOff) {
  EXPECT_EQ(undo_of({"\x1b", "[", "?", "7", "l"}), "\x1b[?7h");
  EXPECT_EQ(undo_of({"\x1b[?7\nl"}), "\x1b[?7h");         // a line feed within moves the cursor and no more
  EXPECT_EQ(undo_of({"\x1b[?7\x1b[?25l"}), "\x1b[?25h");  // another begins
  EXPECT_EQ(undo_of({"\x1b[?" + std::string(1000, '7') + "l\x1b[?7l"}), "\x1b[?7h");
  EXPECT_EQ(undo_of({"\x1b[?7l\x1b[?7\x18h"}), "\x1b[?7h");       // taken back
  EXPECT_EQ(undo_of({"\x1b[>1m\x1b[2;2;3;3;0$r\x1b[>31u"}), "");  // other sequences
  EXPECT_EQ(undo_of({"\x1b[?;;:;7l"}), "\x1b[?7h");
  EXPECT_EQ(undo_of({"\x1b[?99999999999l\x1b[?h\x1b[?"}), "");
}

}  // namespace
}  // namespace vellum
