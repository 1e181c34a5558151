#include "translate.hpp"

#include <algorithm>
#include <map>
#include <regex>
#include <sstream>

#include "../unit/bt/long_guest.hpp"

namespace vellum::golden {
namespace {

class StringSink final : public TraceSink {
 public:
  void write(std::string_view lines) override { text += lines; }
  std::string text;
};

class Guest final : public bt::LongGuest {
 public:
  explicit Guest(bt::Options::Memory memory)
      : LongGuest({.cache_bytes = 4 << 20, .threshold = 0, .memory = memory, .by_loop = true}, "x86-64-v3") {
    state_.cr4 |= x86::cr4::kOsfxsr | x86::cr4::kOsxmmexcpt | x86::cr4::kOsxsave;
    state_.xcr0 = 7;
    for (u64& r : state_.gpr) r = kData;
    state_.gpr[x86::kRsp] = kStack;
  }

  /// What the trace shows of the unit that begins with `instruction`.
  std::string trace(const std::vector<u8>& instruction) {
    u8* code = ram_->host(GuestPhys(kCode));
    code = std::copy(instruction.begin(), instruction.end(), code);
    *code++ = 0xeb, *code = 0xfe;  // a jump to itself ends the unit
    ram_->note_store(GuestPhys(kCode), instruction.size() + 2);
    engine_.vcpu().set_trace(Tracer(sink_, TraceKind::kUnits, 0));
    run(8);
    return sink_.text;
  }

 private:
  void TestBody() override {}
  StringSink sink_;
};

struct Line {
  std::string offset, text;
};

// The lines of the unit's first guest instruction; `guest` becomes its text, `next` what stands behind it.
std::vector<Line> first_instruction(const std::string& trace, std::string& guest, std::string& next) {
  static const std::regex unit("^vcpu0: unit 1000 .*"),
      insn("^  0000000000001000  ((?:[0-9a-f]{2} )+) *(.*)$"), host("^    (\\+[0-9a-f]+)  (.*)$");
  std::vector<Line> lines;
  std::istringstream in(trace);
  std::smatch part;
  bool in_unit = false, in_instruction = false;
  for (std::string text; std::getline(in, text);) {
    if (std::regex_match(text, unit)) in_unit = true;
    if (!in_unit) continue;
    if (std::regex_match(text, part, host)) {
      if (in_instruction) lines.push_back({part[1], part[2]});
      if (!guest.empty() && !in_instruction) {
        next = part[1];
        break;
      }
    } else {
      in_instruction = std::regex_match(text, part, insn);
      if (in_instruction) guest = part[2];
    }
  }
  return lines;
}

}  // namespace

bool supported() {
  return x86::CpuModel::create("x86-64-v3").has_value();
}

std::optional<Golden> translate(const std::vector<u8>& instruction, bt::Options::Memory memory) {
  Golden golden;
  std::string next;
  const auto lines = first_instruction(Guest(memory).trace(instruction), golden.guest, next);
  if (golden.guest.empty()) return std::nullopt;
  std::map<std::string, std::size_t> at;
  for (const Line& line : lines) at.emplace(line.offset, at.size());
  static const std::regex target("\\+[0-9a-f]{3,}$"), address("0x(7F|5[56])[0-9A-F]{10}"),
      slots("(gs:\\[r14(\\*8)?)\\+0x[0-9A-F]+\\]");
  for (const Line& line : lines) {
    std::string text = std::regex_replace(line.text, address, "&host");
    text = std::regex_replace(text, slots, "$1+slots]");
    if (std::smatch to; std::regex_search(text, to, target)) {
      const std::string offset = to[0];
      const auto within = at.find(offset);
      const std::string name = within != at.end() ? "line " + std::to_string(within->second + 1)
                               : offset == next   ? "the next instruction"
                                                  : "out of line";
      text = to.prefix().str() + name;
    }
    golden.host.push_back(text);
  }
  return golden;
}

}  // namespace vellum::golden
