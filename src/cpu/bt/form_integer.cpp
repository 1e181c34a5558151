// Integer instructions that came with the vector extensions or beside them. What they leave undefined of the
// flags is the host's answer (form.cpp).
#include "cpu/bt/form.hpp"
#include "cpu/interp/native/isa.hpp"

namespace vellum::bt {
namespace {

using namespace x86::rflags;

struct Row {
  ZydisMnemonic mnemonic;
  asmjit::InstId host;
  u64 reads = 0, writes = 0;
};

#define ROW(name, id, ...) \
  { ZYDIS_MNEMONIC_##name, a::Inst::kId##id, __VA_ARGS__ }
constexpr Row kRows[] = {
    ROW(ANDN, Andn, kAf | kPf, kArithmetic),
    ROW(BEXTR, Bextr, kSf | kAf | kPf, kArithmetic),
    ROW(BLSI, Blsi, kAf | kPf, kArithmetic),
    ROW(BLSMSK, Blsmsk, kAf | kPf, kArithmetic),
    ROW(BLSR, Blsr, kAf | kPf, kArithmetic),
    ROW(BZHI, Bzhi, kAf | kPf, kArithmetic),
    ROW(PDEP, Pdep, 0, 0),
    ROW(PEXT, Pext, 0, 0),
    ROW(RORX, Rorx, 0, 0),
    ROW(SARX, Sarx, 0, 0),
    ROW(SHLX, Shlx, 0, 0),
    ROW(SHRX, Shrx, 0, 0),
    ROW(MULX, Mulx, 0, 0),
    ROW(ADCX, Adcx, kCf, kCf),
    ROW(ADOX, Adox, kOf, kOf),
    ROW(POPCNT, Popcnt, 0, kArithmetic),
    ROW(LZCNT, Lzcnt, kArithmetic & ~(kCf | kZf), kArithmetic),
    ROW(TZCNT, Tzcnt, kArithmetic & ~(kCf | kZf), kArithmetic),
    ROW(CRC32, Crc32, 0, 0),
    ROW(MOVBE, Movbe, 0, 0),
    ROW(MOVNTI, Movnti, 0, 0),
    ROW(LFENCE, Lfence, 0, 0),
    ROW(SFENCE, Sfence, 0, 0),
    ROW(MFENCE, Mfence, 0, 0),
};
#undef ROW

bool is_prefetch(ZydisMnemonic m) {
  switch (m) {
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_PREFETCHWT1:
      return true;
    default:
      return false;
  }
}

}  // namespace

Form native_integer_form(const x86::Decoded& d, const x86::CpuModel& model) {
  using interp::native::Family;
  const interp::native::IsaRow* isa = interp::native::find_isa(d.info);
  if (isa == nullptr) return {};  // VEX forms of POPCNT and its like, which are not x86's
  if (isa->family != Family::kInteger && isa->family != Family::kHint) return {};
  const ZydisMnemonic m = d.info.mnemonic;
  if (is_prefetch(m)) return {.scheme = Scheme::kNothing, .observable = false};
  // On a processor without them they are BSR and BSF.
  if (m == ZYDIS_MNEMONIC_LZCNT && !model.has(x86::Feature::kAbm)) return {};
  if (m == ZYDIS_MNEMONIC_TZCNT && !model.has(x86::Feature::kBmi1)) return {};
  for (const Row& row : kRows) {
    if (row.mnemonic != m) continue;
    Form form{.scheme = Scheme::kGeneric,
              .host = row.host,
              .reads = row.reads,
              .writes = row.writes,
              .byte_immediate = true};
    return plain_operands(d, form) ? form : Form{};
  }
  return {};
}

}  // namespace vellum::bt
