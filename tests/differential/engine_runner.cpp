#include "engine_runner.hpp"

#include <algorithm>
#include <optional>

#include "base/assert.hpp"
#include "cpu/bt/translator.hpp"
#include "cpu/interp/interpreter.hpp"

namespace vellum::differential {
namespace {

// Guest-physical layout.
constexpr u64 kPml4 = 0x1000, kPdptLow = 0x2000, kPdLow = 0x3000, kPtCode = 0x4000, kPtData = 0x5000,
              kPdptHigh = 0x6000, kPdHigh = 0x7000, kGdt = 0x10000, kIdt = 0x11000, kTss = 0x12000,
              kHandlers = 0x13000, kStackTop = 0x15000, kCodePage = 0x20000, kDataPage = 0x21000;
constexpr u64 kKernel = 0xffff'8000'0000'0000;  // where guest-physical 0 … 2 MiB stand for the supervisor

constexpr u64 kPresent = 1, kWritable = 2, kUser = 4, kLarge = 0x80, kNoExecute = bit(63);
constexpr u16 kKernelCs = 0x10, kUserCs32 = 0x23, kUserSs = 0x2b, kUserCs64 = 0x33, kTssSelector = 0x38;

// The registers' part of RFLAGS that a case chooses.
constexpr u64 kCaseFlags =
    x86::rflags::kArithmetic | x86::rflags::kDf | x86::rflags::kAc | x86::rflags::kId | x86::rflags::kNt;

}  // namespace

Result<std::unique_ptr<EngineRunner>> EngineRunner::create(std::string_view engine, unsigned unit) {
  if (engine != "interp" && engine != "bt" && engine != "bt-flat")
    return fail(ErrorCode::kInvalidArgument, "unknown engine '{}'; there are: interp, bt, bt-flat", engine);
  VELLUM_TRY_ASSIGN(ram, GuestRam::create(2 << 20));
  VELLUM_TRY_ASSIGN(model, x86::CpuModel::create("host"));
  auto runner =
      std::unique_ptr<EngineRunner>(new EngineRunner(engine, unit, std::move(ram), std::move(model)));
  if (engine == "bt-flat" && !runner->stat("pages entered in flat tables"))
    return fail(ErrorCode::kUnsupported, "this host has no flat tables (the warning says why)");
  runner->build_guest();
  return runner;
}

EngineRunner::EngineRunner(std::string_view engine, unsigned unit, std::unique_ptr<GuestRam> ram,
                           x86::CpuModel model)
    : ram_(std::move(ram)), model_(std::move(model)), space_{*ram_, mmio_, ports_} {
  if (engine != "interp") {
    // Every instruction is translated, the first time that it runs.
    using Memory = bt::Options::Memory;
    const bt::Options options{.cache_bytes = 4 << 20,
                              .threshold = 0,
                              .memory = engine == "bt-flat" ? Memory::kFlat : Memory::kHashed,
                              .unit = unit};
    engine_ = std::make_unique<bt::Translator>(0, space_, board_, clock_, model_, hazards_, options);
  } else {
    engine_ = std::make_unique<interp::Interpreter>(0, space_, board_, clock_, model_, hazards_);
  }
}

std::optional<u64> EngineRunner::stat(std::string_view name) const {
  std::vector<StatRow> rows;
  engine_->stats(rows);
  const auto row = std::find_if(rows.begin(), rows.end(), [&](const StatRow& r) { return r.name == name; });
  return row == rows.end() ? std::nullopt : std::optional(row->count);
}

u64 EngineRunner::entries() const {
  return stat("entries").value_or(0);
}

void EngineRunner::put64(u64 physical, u64 value) {
  *reinterpret_cast<u64*>(ram_->host(GuestPhys(physical))) = value;
}

void EngineRunner::build_guest() {
  const u64 table = kPresent | kWritable | kUser;
  put64(kPml4, kPdptLow | table);
  put64(kPml4 + 256 * 8, kPdptHigh | kPresent | kWritable);
  put64(kPdptLow, kPdLow | table);
  put64(kPdLow + (kCode >> 21) * 8, kPtCode | table);
  put64(kPdLow + (kData >> 21) * 8, kPtData | table);
  put64(kPtCode, kCodePage | kPresent | kUser);
  put64(kPtData + 8, kDataPage | kPresent | kWritable | kUser | kNoExecute);
  put64(kPtData + 16, (kDataPage + kPageSize) | kPresent | kWritable | kUser | kNoExecute);
  put64(kPtData + 24, (kDataPage + 2 * kPageSize) | kPresent | kUser | kNoExecute);
  put64(kPdptHigh, kPdHigh | kPresent | kWritable);
  put64(kPdHigh, kPresent | kWritable | kLarge);
  fill_data(0, ram_->host(GuestPhys(kDataPage + 2 * kPageSize)), kPageSize);

  const auto descriptor = [](u16 attributes) {
    return x86::make_descriptor({.selector = 0, .attributes = attributes, .limit = 0xffffffff, .base = 0});
  };
  put64(kGdt + kKernelCs, descriptor(0xa09b));
  put64(kGdt + 0x18, descriptor(0xc093));
  put64(kGdt + (kUserCs32 & ~7), descriptor(0xc0fb));
  put64(kGdt + (kUserSs & ~7), descriptor(0xc0f3));
  put64(kGdt + (kUserCs64 & ~7), descriptor(0xa0fb));
  const u64 tss = kKernel + kTss;
  put64(kGdt + kTssSelector, 0x67 | (bits(tss, 23, 0) << 16) | (u64{0x89} << 40) | (bits(tss, 31, 24) << 56));
  put64(kGdt + kTssSelector + 8, tss >> 32);
  put64(kTss + 4, kKernel + kStackTop);  // RSP0
  put64(kTss + 0x60, u64{0x68} << 48);   // no I/O permission bitmap
  for (u64 vector = 0; vector < 256; ++vector) {
    const u64 handler = kKernel + kHandlers + vector;
    put64(kIdt + 16 * vector, bits(handler, 15, 0) | (u64{kKernelCs} << 16) | (u64{0x8e00} << 32) |
                                  (bits(handler, 31, 16) << 48));
    put64(kIdt + 16 * vector + 8, handler >> 32);
    *ram_->host(GuestPhys(kHandlers + vector)) = 0xf4;  // HLT
  }

  VcpuState& s = base_;
  s.cr0 = x86::cr0::kPe | x86::cr0::kPg | x86::cr0::kWp | x86::cr0::kNe | x86::cr0::kMp | x86::cr0::kEt |
          x86::cr0::kAm;
  s.cr3 = kPml4;
  s.cr4 =
      x86::cr4::kPae | x86::cr4::kOsfxsr | x86::cr4::kOsxmmexcpt | x86::cr4::kOsxsave | x86::cr4::kFsgsbase;
  s.xcr0 = x86::xcr0::kX87 | x86::xcr0::kSse | x86::xcr0::kAvx;
  s.msr.efer = x86::efer::kLme | x86::efer::kLma | x86::efer::kNxe | x86::efer::kSce;
  s.cpl = 3;
  s.gdtr = {kKernel + kGdt, 0x47};
  s.idtr = {kKernel + kIdt, 0xfff};
  s.tr = {.selector = kTssSelector, .attributes = 0x8b, .limit = 0x67, .base = kKernel + kTss};
  const x86::Segment data{.selector = kUserSs, .attributes = 0xc0f3, .limit = 0xffffffff, .base = 0};
  s.segment(x86::Seg::kDs) = s.segment(x86::Seg::kEs) = s.segment(x86::Seg::kSs) = data;
}

void EngineRunner::load_registers(const Case& c) {
  VcpuState s = base_;
  s.gpr = c.in.gpr;
  s.rip = c.in.rip;
  s.rflags = (c.in.rflags & kCaseFlags) | x86::rflags::kFixed1 | x86::rflags::kIf;
  s.segment(x86::Seg::kCs) = {.selector = c.compat ? kUserCs32 : kUserCs64,
                              .attributes = static_cast<u16>(c.compat ? 0xc0fb : 0xa0fb),
                              .limit = 0xffffffff,
                              .base = 0};
  s.xsave = c.in.fp;
  s.xsave.header[0] = 7;
  engine_->push(StateMask::kAll, s);
}

u8* EngineRunner::data() {
  return ram_->host(GuestPhys(kDataPage));
}

void EngineRunner::put_code(u64 offset, std::span<const u8> bytes) {
  u8* code = ram_->host(GuestPhys(kCodePage));
  if (around_ && std::equal(bytes.begin(), bytes.end(), code + offset)) return;
  std::fill_n(code, kPageSize, 0xcc);
  std::copy(bytes.begin(), bytes.end(), code + offset);
  ram_->note_store(GuestPhys(kCodePage), kPageSize);
}

void EngineRunner::run(const Case& c, std::span<const u8> bytes, u64 instructions, Outcome& o) {
  put_code(c.in.rip - kCode, bytes);
  fill_data(c.data_seed, ram_->host(GuestPhys(kDataPage)), kWritableBytes);
  load_registers(c);
  std::optional<Exit> e;
  const auto go = [&] { e = engine_->run(Budget{instructions}); };
  if (around_)
    around_(go);
  else
    go();
  VcpuState s;
  engine_->pull(StateMask::kAll, s);
  o.out.gpr = s.gpr;
  o.out.rip = s.rip;
  o.out.rflags = s.rflags;
  o.out.fp = s.xsave;
  o.vector = kNoFault;
  o.error_code = 0;
  o.cr2 = s.cr2;
  std::copy_n(ram_->host(GuestPhys(kDataPage)), kWritableBytes, o.data.begin());
  if (s.cpl == 3) return;
  // A handler ran: its address is the vector, and the frame on the stack holds what was interrupted.
  VELLUM_ASSERT(s.activity == Activity::kHalted || std::holds_alternative<exit::BudgetSpent>(*e), "exit {}",
                e->index());
  o.vector = static_cast<u8>(s.rip - (kKernel + kHandlers) - (s.activity == Activity::kHalted ? 1 : 0));
  const u64* frame = reinterpret_cast<const u64*>(ram_->host(GuestPhys(s.gpr[x86::kRsp] - kKernel)));
  if (x86::vector_has_error_code(o.vector)) o.error_code = static_cast<u32>(*frame++);
  o.out.rip = frame[0];
  o.out.rflags = frame[2];
  o.out.gpr[x86::kRsp] = frame[3];
}

}  // namespace vellum::differential
