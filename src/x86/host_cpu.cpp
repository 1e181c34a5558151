#include "x86/host_cpu.hpp"

#include <cpuid.h>

#include <array>
#include <cstring>

namespace vellum::x86 {
namespace {

using Registers = std::array<u32, 4>;  // EAX, EBX, ECX, EDX

Registers host_cpuid(u32 leaf, u32 subleaf) {
  Registers r;
  __cpuid_count(leaf, subleaf, r[0], r[1], r[2], r[3]);
  return r;
}

/// The host leaf, or zeros beyond the host's maximum (where Intel's processors repeat their last leaf).
Registers host_leaf(u32 leaf, u32 subleaf) {
  const u32 maximum = host_cpuid(leaf & 0x80000000, 0)[0];
  return leaf <= maximum ? host_cpuid(leaf, subleaf) : Registers{};
}

bool host_enabled_avx() {
  constexpr u32 kOsxsaveBit = u32{1} << 27;
  if ((host_cpuid(1, 0)[2] & kOsxsaveBit) == 0) return false;
  u32 low, high;
  // SAFETY: XGETBV with ECX 0 is defined once CPUID says OSXSAVE.
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & 6) == 6;
}

bool needs_avx_state(Feature f) {
  switch (f) {
    case Feature::kAvx:
    case Feature::kAvx2:
    case Feature::kFma:
    case Feature::kF16c:
    case Feature::kVaes:
    case Feature::kVpclmul:
      return true;
    default:
      return false;
  }
}

std::string text_of(const u32* words, std::size_t count) {
  std::string text(count * 4, '\0');
  std::memcpy(text.data(), words, text.size());
  return text;
}

std::string trimmed(std::string text) {
  text.resize(std::min(text.find('\0'), text.size()));
  const auto first = text.find_first_not_of(' ');
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

std::string host_brand() {
  std::string brand;
  for (u32 leaf = 0x80000002; leaf <= 0x80000004; ++leaf) {
    const Registers r = host_leaf(leaf, 0);
    brand += text_of(r.data(), r.size());
  }
  return trimmed(std::move(brand));
}

HostCpu ask_host() {
  HostCpu host;
  const Registers first = host_cpuid(0, 0);
  const std::array<u32, 3> vendor{first[1], first[3], first[2]};
  host.vendor = text_of(vendor.data(), vendor.size());
  host.brand = host_brand();
  host.signature = host_cpuid(1, 0)[0];
  const bool avx_enabled = host_enabled_avx();
  for (const FeatureRow& row : feature_table()) {
    const Registers r = host_leaf(row.leaf, row.subleaf);
    const bool reported = ((r[static_cast<unsigned>(row.reg)] >> row.bit) & 1) != 0;
    host.features.set(feature_index(row.feature), reported && (avx_enabled || !needs_avx_state(row.feature)));
  }
  return host;
}

}  // namespace

// Asked once: under a hypervisor each CPUID is an exit, and the table takes a hundred of them, some 10 ms.
HostCpu HostCpu::detect() {
  static const HostCpu host = ask_host();
  return host;
}

}  // namespace vellum::x86
