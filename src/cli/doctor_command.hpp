// `vellum doctor`.
#pragma once

namespace vellum::cli {

struct DoctorOptions {
  bool json = false;
  unsigned kvm_patience = 1;
};

/// Prints on standard output. The exit status: 0 if Vellum can run here, else 1.
int doctor_command(const DoctorOptions& options);

}  // namespace vellum::cli
