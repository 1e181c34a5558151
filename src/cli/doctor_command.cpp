#include "cli/doctor_command.hpp"

#include <cstdio>

#include "cli/host_probes.hpp"

namespace vellum::cli {

int doctor_command(const DoctorOptions& options) {
  const auto findings = examine_host(options.kvm_patience);
  const std::string text = options.json ? as_json(findings) : as_text(findings);
  std::fputs(text.c_str(), stdout);
  if (std::fflush(stdout) != 0) return 1;
  return can_run(findings) ? 0 : 1;
}

}  // namespace vellum::cli
