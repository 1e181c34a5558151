#include "cpu/bt/options.hpp"

#include "base/key_values.hpp"
#include "x86/host_cpu.hpp"

namespace vellum::bt {
namespace {

Result<u64> number(std::string_view key, std::string_view value, u64 low, u64 high) {
  u64 n = 0;
  if (!parse_number(value, n) || n < low || n > high)
    return fail(ErrorCode::kInvalidArgument, "{}={}: expected a number from {} to {}", key, value, low, high);
  return n;
}

Result<> apply(std::string_view key, std::string_view value, Options& to) {
  if (key == "chain") {
    VELLUM_TRY_ASSIGN_TO(to.chain, on_off(key, value));
  } else if (key == "returns") {
    VELLUM_TRY_ASSIGN_TO(to.returns, on_off(key, value));
  } else if (key == "share") {
    VELLUM_TRY_ASSIGN_TO(to.share, on_off(key, value));
  } else if (key == "perfmap") {
    VELLUM_TRY_ASSIGN_TO(to.perf_map, on_off(key, value));
  } else if (key == "count") {
    if (value != "auto" && value != "on")
      return fail(ErrorCode::kInvalidArgument, "count={}: expected auto or on", value);
    to.count = value == "on" ? Options::Count::kOn : Options::Count::kAuto;
  } else if (key == "hot") {
    VELLUM_TRY_ASSIGN(n, number(key, value, 0, 1'000'000'000));
    to.hot = static_cast<u32>(n);
  } else if (key == "memory") {
    if (value == "auto")
      to.memory = Options::Memory::kAuto;
    else if (value == "hashed")
      to.memory = Options::Memory::kHashed;
    else if (value == "flat")
      to.memory = Options::Memory::kFlat;
    else
      return fail(ErrorCode::kInvalidArgument, "memory={}: expected auto, hashed or flat", value);
  } else if (key == "unit") {
    VELLUM_TRY_ASSIGN(n, number(key, value, 1, 32));
    to.unit = static_cast<unsigned>(n);
  } else if (key == "threshold") {
    VELLUM_TRY_ASSIGN(n, number(key, value, 0, 1'000'000));
    to.threshold = static_cast<u32>(n);
  } else if (key == "cache") {
    const bool suffixed = !value.empty() && (value.back() == 'M' || value.back() == 'm');
    VELLUM_TRY_ASSIGN(n, number(key, suffixed ? value.substr(0, value.size() - 1) : value, 1, 1024));
    to.cache_bytes = static_cast<std::size_t>(n) << 20;
  } else {
    return fail(ErrorCode::kInvalidArgument,
                "'{}': unknown; there are: unit, chain, returns, share, threshold, hot, cache, memory, "
                "count, perfmap",
                key);
  }
  return {};
}

}  // namespace

Result<> parse_options(std::string_view text, Options& to) {
  return for_each_pair(text, "chain=off",
                       [&](std::string_view key, std::string_view value) { return apply(key, value, to); });
}

bool host_loops_fast() {
  static const bool fast = [] {
    const std::string vendor = x86::HostCpu::detect().vendor;
    return vendor == "AuthenticAMD" || vendor == "HygonGenuine";
  }();
  return fast;
}

bool host_can_translate() {
  return x86::HostCpu::detect().features.test(x86::feature_index(x86::Feature::kBmi2));
}

}  // namespace vellum::bt
