// Made-up hosts, so that the models' rules are tested alike on every machine.
#pragma once

#include "x86/host_cpu.hpp"

namespace vellum::x86 {

/// A host with every feature that the table names.
inline HostCpu full_host(std::string vendor = "GenuineIntel") {
  HostCpu host;
  host.vendor = std::move(vendor);
  host.brand = "Test Host";
  host.signature = 0x00b10f11;
  host.features.set();
  return host;
}

inline HostCpu host_without(std::initializer_list<Feature> missing, std::string vendor = "GenuineIntel") {
  HostCpu host = full_host(std::move(vendor));
  for (const Feature f : missing) host.features.reset(feature_index(f));
  return host;
}

}  // namespace vellum::x86
