// CPUID's leaves (SDM vol. 2A, CPUID). The feature bits come from the feature table; here stands the rest:
// identity, topology, caches, the TSC's frequency, sizes. One package, one thread a core: APIC ids 0 to
// cpu_count - 1.
#include <array>
#include <bit>

#include "x86/cpu_model.hpp"
#include "x86/registers.hpp"

namespace vellum::x86 {
namespace {

constexpr u32 kHypervisorBase = 0x40000000, kHypervisorMax = 0x40000010, kHypervisorEnd = 0x4fffffff;
constexpr u32 kExtendedBase = 0x80000000, kExtendedMax = 0x80000008;

u32 load32(std::string_view text, std::size_t offset) {
  u32 word = 0;
  for (unsigned i = 0; i < 4; ++i)
    if (offset + i < text.size()) word |= u32{static_cast<u8>(text[offset + i])} << (8 * i);
  return word;
}

/// Bits of the APIC id that tell the package's logical processors apart.
unsigned id_bits(u32 cpu_count) {
  return static_cast<unsigned>(std::bit_width(cpu_count - 1));
}

/// Leaf 4: deterministic cache parameters. L1 and L2 belong to one core, L3 to the package.
struct Cache {
  u32 type, level, ways, sets;
  bool shared;
};
constexpr u32 kLine = 64;
constexpr std::array<Cache, 4> kCaches{{
    {1, 1, 8, 64, false},     // 32 KiB data
    {2, 1, 8, 64, false},     // 32 KiB instructions
    {3, 2, 16, 2048, false},  // 2 MiB
    {3, 3, 16, 16384, true},  // 16 MiB
}};

CpuidResult cache_leaf(u32 subleaf, const CpuidContext& context) {
  if (subleaf >= kCaches.size()) return {};
  const Cache& cache = kCaches[subleaf];
  const u32 package_ids = std::min((u32{1} << id_bits(context.cpu_count)), u32{64});
  CpuidResult r;
  r.eax = cache.type | (cache.level << 5) | (1 << 8);  // bit 8: self-initialising
  r.eax |= ((cache.shared ? (u32{1} << id_bits(context.cpu_count)) : 1) - 1) << 14;
  r.eax |= (package_ids - 1) << 26;
  r.ebx = (kLine - 1) | ((cache.ways - 1) << 22);
  r.ecx = cache.sets - 1;
  return r;
}

/// Leaf 0xb: extended topology.
CpuidResult topology_leaf(u32 subleaf, const CpuidContext& context) {
  CpuidResult r{.ecx = subleaf & 0xff, .edx = context.apic_id};
  if (subleaf == 0) {
    r.ebx = 1;
    r.ecx |= 1 << 8;  // SMT
  } else if (subleaf == 1) {
    r.eax = id_bits(context.cpu_count);
    r.ebx = context.cpu_count;
    r.ecx |= 2 << 8;  // core
  }
  return r;
}

struct TscRatio {
  u64 crystal_khz = 0, numerator = 0, denominator = 1;
};

/// A ratio from which software computes `tsc_khz` exactly. It does so in 32 bits (Linux's
/// native_calibrate_tsc(): crystal_khz * numerator / denominator), too few for the exact ratio to an
/// arbitrary crystal; so the crystal gives way, usually by a few parts per million at most and never by more
/// than 250 (a unit test holds that).
TscRatio tsc_ratio(u64 tsc_khz, u64 nominal_crystal_khz) {
  constexpr u64 kMax = 0xffffffff;
  constexpr u64 kHighestDenominator = 5000;  // bounds the search: a guest chooses when it runs
  TscRatio best;
  u64 smallest_error = ~u64{0};
  for (u64 d = 1; d <= std::min(kMax / tsc_khz, kHighestDenominator) && smallest_error != 0; ++d) {
    const u64 below = tsc_khz * d / nominal_crystal_khz;
    for (const u64 n : {below, below + 1}) {
      if (n == 0) continue;
      const u64 crystal = (tsc_khz * d + n - 1) / n;
      if (crystal * 1000 > kMax || crystal * n > kMax || crystal * n / d != tsc_khz) continue;
      const u64 error =
          crystal > nominal_crystal_khz ? crystal - nominal_crystal_khz : nominal_crystal_khz - crystal;
      if (error >= smallest_error) continue;
      smallest_error = error;
      best = {crystal, n, d};
    }
  }
  return best;
}

/// Leaf 0x15: TSC = crystal * EBX / EAX. The local APIC's timer counts the crystal (SDM vol. 3A, "APIC
/// Timer").
CpuidResult tsc_leaf(const CpuidContext& context) {
  const u64 nominal_khz = context.apic_timer_hz / 1000;
  const u64 tsc_khz = (context.tsc_hz + 500) / 1000;
  if (nominal_khz == 0 || tsc_khz == 0) return {};
  const TscRatio ratio = tsc_ratio(tsc_khz, nominal_khz);
  return {static_cast<u32>(ratio.denominator), static_cast<u32>(ratio.numerator),
          static_cast<u32>(ratio.crystal_khz * 1000), 0};
}

CpuidResult hypervisor_leaf(u32 leaf, const CpuidContext& context) {
  constexpr std::string_view kSignature = "VellumVellum";
  static_assert(kSignature.size() == 12);
  if (leaf == kHypervisorBase)
    return {kHypervisorMax, load32(kSignature, 0), load32(kSignature, 4), load32(kSignature, 8)};
  if (leaf == kHypervisorMax)
    return {static_cast<u32>((context.tsc_hz + 500) / 1000), static_cast<u32>(context.apic_timer_hz / 1000),
            0, 0};
  return {};
}

}  // namespace

u32 CpuModel::feature_bits(u32 leaf, u32 subleaf, CpuidRegister reg) const {
  u32 word = 0;
  for (const FeatureRow& row : feature_table())
    if (row.leaf == leaf && row.subleaf == subleaf && row.reg == reg && has(row.feature))
      word |= u32{1} << row.bit;
  return word;
}

/// AMD has no leaves 0x15 and 0x16.
u32 CpuModel::highest_basic_leaf() const {
  return amd_ ? 0xd : 0x16;
}

CpuidResult CpuModel::cpuid(u32 leaf, u32 subleaf, const CpuidContext& context) const {
  if (leaf >= kHypervisorBase && leaf <= kHypervisorEnd) return hypervisor_leaf(leaf, context);
  if (leaf >= kExtendedBase && leaf <= kExtendedMax) return extended_leaf(leaf, context);
  if (leaf <= highest_basic_leaf()) return basic_leaf(leaf, subleaf, context);
  // Beyond the maximum Intel's processors answer with the highest basic leaf, AMD's with zeros.
  return amd_ ? CpuidResult{} : basic_leaf(highest_basic_leaf(), subleaf, context);
}

CpuidResult CpuModel::version_leaf(const CpuidContext& context) const {
  CpuidResult r;
  r.eax = signature_;
  const u32 ids = std::min(u32{1} << id_bits(context.cpu_count), u32{255});
  r.ebx = ((kLine / 8) << 8) | (ids << 16) | ((context.apic_id & 0xff) << 24);
  r.ecx = feature_bits(1, 0, CpuidRegister::kEcx);
  r.edx = feature_bits(1, 0, CpuidRegister::kEdx);
  const auto clear_unless = [](u32& word, Feature f, bool condition) {
    if (!condition) word &= ~(u32{1} << feature_row(f).bit);
  };
  clear_unless(r.ecx, Feature::kOsxsave, (context.cr4 & cr4::kOsxsave) != 0);
  clear_unless(r.edx, Feature::kApic, context.apic_enabled);
  clear_unless(r.ecx, Feature::kX2apic, context.apic_enabled);
  clear_unless(r.edx, Feature::kHtt, context.cpu_count > 1);
  return r;
}

CpuidResult CpuModel::xsave_leaf(u32 subleaf, const CpuidContext& context) const {
  constexpr u32 kLegacyAndHeader = 576, kYmmSize = 256;
  if (!has(Feature::kXsave)) return {};
  const bool avx = has(Feature::kAvx);
  const auto size_for = [](u64 components) {
    return kLegacyAndHeader + ((components & xcr0::kAvx) != 0 ? kYmmSize : 0);
  };
  switch (subleaf) {
    case 0:
      return {static_cast<u32>(xcr0_valid_bits()), size_for(context.xcr0), size_for(xcr0_valid_bits()), 0};
    case 1:
      // EBX: the size of the compacted format for XCR0 | IA32_XSS; AVX state directly follows the header in
      // both.
      return {feature_bits(0xd, 1, CpuidRegister::kEax),
              has(Feature::kXsavec) ? size_for(context.xcr0 | context.xss) : 0, 0, 0};
    case 2:
      return avx ? CpuidResult{kYmmSize, kLegacyAndHeader, 0, 0} : CpuidResult{};
    default:
      return {};
  }
}

CpuidResult CpuModel::basic_leaf(u32 leaf, u32 subleaf, const CpuidContext& context) const {
  switch (leaf) {
    case 0:
      return {context.limit_cpuid ? 2 : highest_basic_leaf(), load32(vendor_, 0), load32(vendor_, 8),
              load32(vendor_, 4)};
    case 1:
      return version_leaf(context);
    case 2:
      // One round; 0xff: caches are in leaf 4; 0xf0: 64-byte prefetch. AMD has no leaf 2.
      return amd_ ? CpuidResult{} : CpuidResult{0x0000ff01, 0x000000f0, 0, 0};
    case 4:
      return amd_ ? CpuidResult{} : cache_leaf(subleaf, context);
    case 6:
      return {feature_bits(6, 0, CpuidRegister::kEax), 0, 0, 0};
    case 7: {
      constexpr u32 kHighestSubleaf = 2;
      if (subleaf > kHighestSubleaf) return {};
      return {subleaf == 0 ? kHighestSubleaf : 0, feature_bits(7, subleaf, CpuidRegister::kEbx),
              feature_bits(7, subleaf, CpuidRegister::kEcx), feature_bits(7, subleaf, CpuidRegister::kEdx)};
    }
    case 0xb:
      return topology_leaf(subleaf, context);
    case 0xd:
      return xsave_leaf(subleaf, context);
    case 0x15:
      return tsc_leaf(context);
    case 0x16: {
      const u32 mhz = static_cast<u32>((context.tsc_hz + 500'000) / 1'000'000);
      return {mhz, mhz, static_cast<u32>(context.apic_timer_hz / 1'000'000), 0};
    }
    default:
      return {};
  }
}

CpuidResult CpuModel::extended_leaf(u32 leaf, const CpuidContext& context) const {
  switch (leaf) {
    case 0x80000000:
      if (!amd_) return {kExtendedMax, 0, 0, 0};
      return {kExtendedMax, load32(vendor_, 0), load32(vendor_, 8), load32(vendor_, 4)};
    case 0x80000001: {
      CpuidResult r{0, 0, feature_bits(leaf, 0, CpuidRegister::kEcx),
                    feature_bits(leaf, 0, CpuidRegister::kEdx)};
      if (amd_) {
        // AMD repeats these bits of leaf 1 EDX here (APM vol. 3 appendix E.4.2).
        constexpr u32 kRepeated = 0x0183f3ff;
        r.eax = signature_;
        r.edx |= version_leaf(context).edx & kRepeated;
        if (context.cpu_count == 1) r.ecx &= ~(u32{1} << feature_row(Feature::kCmpLegacy).bit);
      } else if (!context.mode_64) {
        r.edx &= ~(u32{1} << feature_row(Feature::kSyscall).bit);
      }
      return r;
    }
    case 0x80000002:
    case 0x80000003:
    case 0x80000004: {
      const std::size_t offset = (leaf - 0x80000002) * 16;
      return {load32(brand_, offset), load32(brand_, offset + 4), load32(brand_, offset + 8),
              load32(brand_, offset + 12)};
    }
    case 0x80000005:
      // ECX, EDX: L1 data and instruction caches: KiB, ways, lines per tag, line size.
      return amd_ ? CpuidResult{0, 0, 0x20080140, 0x20080140} : CpuidResult{};
    case 0x80000006:
      // L2: KiB in 31..16, associativity code 8 (16 ways) in 15..12, line size; AMD's EDX: L3 in units of 512
      // KiB.
      return {0, 0, (2048u << 16) | (8u << 12) | kLine,
              amd_ ? (32u << 18) | (8u << 12) | (1u << 8) | kLine : 0};
    case 0x80000007:
      return {0, 0, 0, feature_bits(leaf, 0, CpuidRegister::kEdx)};
    case 0x80000008:
      return {physical_bits() | (kLinearBits << 8), feature_bits(leaf, 0, CpuidRegister::kEbx),
              amd_ ? (context.cpu_count - 1) | (id_bits(context.cpu_count) << 12) : 0, 0};
    default:
      return {};
  }
}

}  // namespace vellum::x86
