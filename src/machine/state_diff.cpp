#include "machine/state_diff.hpp"

#include <fmt/format.h>

#include <cstring>

namespace vellum {
namespace {

constexpr const char* kGpr[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
constexpr const char* kSeg[] = {"es", "cs", "ss", "ds", "fs", "gs"};

class Report {
 public:
  void value(std::string_view name, u64 a, u64 b) {
    if (a != b) lines.push_back(fmt::format("{:<16} A {:016x}  B {:016x}", name, a, b));
  }
  void segment(std::string_view name, const x86::Segment& a, const x86::Segment& b) {
    value(fmt::format("{} selector", name), a.selector, b.selector);
    value(fmt::format("{} attributes", name), a.attributes, b.attributes);
    value(fmt::format("{} limit", name), a.limit, b.limit);
    value(fmt::format("{} base", name), a.base, b.base);
  }
  void bytes(std::string_view name, const u8* a, const u8* b, unsigned size) {
    if (std::memcmp(a, b, size) == 0) return;
    const auto hex = [size](const u8* p) {
      std::string text;
      for (unsigned i = size; i-- > 0;) text += fmt::format("{:02x}", p[i]);
      return text;
    };
    lines.push_back(fmt::format("{:<16} A {}  B {}", name, hex(a), hex(b)));
  }
  std::vector<std::string> lines;
};

}  // namespace

std::vector<std::string> describe_differences(const VcpuState& a, const VcpuState& b) {
  Report r;
  for (unsigned n = 0; n < 16; ++n) r.value(kGpr[n], a.gpr[n], b.gpr[n]);
  r.value("rip", a.rip, b.rip);
  r.value("rflags", a.rflags, b.rflags);
  for (unsigned n = 0; n < x86::kSegCount; ++n) r.segment(kSeg[n], a.seg[n], b.seg[n]);
  r.segment("ldtr", a.ldtr, b.ldtr);
  r.segment("tr", a.tr, b.tr);
  r.value("gdtr base", a.gdtr.base, b.gdtr.base);
  r.value("gdtr limit", a.gdtr.limit, b.gdtr.limit);
  r.value("idtr base", a.idtr.base, b.idtr.base);
  r.value("idtr limit", a.idtr.limit, b.idtr.limit);
  r.value("cr0", a.cr0, b.cr0);
  r.value("cr2", a.cr2, b.cr2);
  r.value("cr3", a.cr3, b.cr3);
  r.value("cr4", a.cr4, b.cr4);
  for (unsigned n = 0; n < 4; ++n) r.value(fmt::format("dr{}", n), a.dr[n], b.dr[n]);
  r.value("dr6", a.dr6, b.dr6);
  r.value("dr7", a.dr7, b.dr7);
  r.value("xcr0", a.xcr0, b.xcr0);
  r.value("cpl", a.cpl, b.cpl);
  r.value("activity", static_cast<u64>(a.activity), static_cast<u64>(b.activity));
  auto& xa = const_cast<XsaveArea&>(a.xsave);
  auto& xb = const_cast<XsaveArea&>(b.xsave);
  r.bytes("x87 control", xa.legacy.data(), xb.legacy.data(), 24);
  r.value("mxcsr", xa.mxcsr(), xb.mxcsr());
  for (unsigned n = 0; n < 8; ++n) r.bytes(fmt::format("st{}", n), xa.st(n), xb.st(n), 10);
  for (unsigned n = 0; n < 16; ++n) {
    r.bytes(fmt::format("xmm{}", n), xa.xmm(n), xb.xmm(n), 16);
    r.bytes(fmt::format("ymm{} high", n), xa.ymm_hi(n), xb.ymm_hi(n), 16);
  }
  if (a.msr != b.msr) r.lines.push_back("model-specific registers");
  // Whatever has no line of its own above still counts.
  if (r.lines.empty() && encode_state(a).bytes != encode_state(b).bytes)
    r.lines.push_back("other vCPU state");
  return r.lines;
}

}  // namespace vellum
