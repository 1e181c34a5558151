// UEFI's variables: what its flash chip holds, from where, and where changes go.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "devices/legacy/cfi_flash.hpp"
#include "machine/config.hpp"

namespace vellum {

class UefiVars final : public FlashContents {
 public:
  /// Without MachineConfig::uefi_vars they are a copy of those that the firmware begins with, and last as
  /// long as this. With it they are kept in that file, which is made so if it is not there, and which nobody
  /// else may have open to write. `code_size`: what the firmware takes of the ROM.
  static Result<std::unique_ptr<UefiVars>> open(const MachineConfig& config, u64 code_size);

  std::span<const u8> bytes() const override { return bytes_; }
  bool store(u64 offset, std::span<const u8> bytes) override;

 private:
  UefiVars(std::vector<u8> bytes, FileDescriptor file, std::string path)
      : bytes_(std::move(bytes)), file_(std::move(file)), path_(std::move(path)) {}

  std::vector<u8> bytes_;
  FileDescriptor file_;  ///< none: kept in memory only
  std::string path_;
};

/// OVMF's images come in pairs, OVMF_CODE_4M.fd and OVMF_VARS_4M.fd: the second's path. Empty if the name has
/// no "CODE".
std::string uefi_vars_template(const std::string& code);

}  // namespace vellum
