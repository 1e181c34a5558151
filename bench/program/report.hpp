// How results leave the program: lines on standard output, or byte for byte to the first serial port.
#pragma once

#include <string>

namespace bench {

class Report {
 public:
  /// `serial`: with IN and OUT, so that a line has reached the host when line() returns. A terminal's
  /// driver would send it by interrupts, in the middle of what is measured next.
  static bool open(bool serial);
  static void line(const std::string& text);
};

}  // namespace bench
