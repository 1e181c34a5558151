#include "x86/exception.hpp"

namespace vellum::x86 {

const char* vector_name(u8 vector) {
  static constexpr const char* kNames[] = {"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD",
                                           "#NM", "#DF", "9",   "#TS", "#NP", "#SS", "#GP",
                                           "#PF", "15",  "#MF", "#AC", "#MC", "#XM"};
  return vector < sizeof kNames / sizeof kNames[0] ? kNames[vector] : "interrupt";
}

}  // namespace vellum::x86
