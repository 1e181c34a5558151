// Traces of what a guest makes its engines do: lines on standard error or in a file, by kind, each line with
// the vCPU that it is about. Off, a place that could trace costs the look at one word.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/bits.hpp"
#include "base/fd.hpp"
#include "base/int.hpp"
#include "base/result.hpp"

namespace vellum {

enum class TraceKind : u32 {
  kNone = 0,
  kUnits = 1 << 0,  ///< "bt": each unit that is translated, guest code beside host code
  kExits = 1 << 1,  ///< "exits": why an engine stopped, and translated code was left
  kMmu = 1 << 2,    ///< "mmu": page walks, page faults, flushes
  kIrq = 1 << 3,    ///< "irq": interrupts and exceptions delivered
};
template <>
inline constexpr bool kIsFlagSet<TraceKind> = true;

/// "bt,exits": any of bt, exits, mmu, irq.
Result<TraceKind> parse_trace_kinds(std::string_view text);

/// Where traces go. write() is thread-safe and keeps each text in one piece.
class TraceSink {
 public:
  virtual ~TraceSink() = default;
  virtual void write(std::string_view text) = 0;
};

/// To a file, or to standard error if `path` is empty. Each text is written at once, so that a crash loses
/// none. What cannot be written (a full disk, a reader that is gone) is lost; of a file, the first time is
/// logged.
Result<std::unique_ptr<TraceSink>> open_trace(const std::string& path);

/// What one vCPU traces, and where. Copies refer to the same sink, which outlives them.
class Tracer {
 public:
  Tracer() = default;
  Tracer(TraceSink& sink, TraceKind kinds, unsigned vcpu) : sink_(&sink), kinds_(kinds), vcpu_(vcpu) {}

  bool wants(TraceKind kind) const { return (kinds_ & kind) != TraceKind::kNone; }

  /// A line, begun with the vCPU's number. Only if some kind is wanted.
  template <class... Arguments>
  void line(fmt::format_string<Arguments...> format, Arguments&&... arguments) const {
    text(fmt::format(format, std::forward<Arguments>(arguments)...) + "\n");
  }
  /// Any number of lines.
  void text(std::string_view lines) const { sink_->write(fmt::format("vcpu{}: {}", vcpu_, lines)); }

 private:
  TraceSink* sink_ = nullptr;
  TraceKind kinds_ = TraceKind::kNone;
  unsigned vcpu_ = 0;
};

}  // namespace vellum
