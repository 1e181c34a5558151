// What the processor under us is and has, as far as user space can use it.
#pragma once

#include <string>

#include "x86/cpu_features.hpp"

namespace vellum::x86 {

struct HostCpu {
  std::string vendor;   ///< 12 characters
  std::string brand;    ///< up to 48, without padding
  u32 signature = 0;    ///< CPUID leaf 1 EAX
  FeatureSet features;  ///< AVX and what builds on it only if the host's kernel enabled the state (XCR0)

  static HostCpu detect();
};

}  // namespace vellum::x86
