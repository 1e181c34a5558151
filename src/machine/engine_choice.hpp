// Which engine runs a machine whose user left the choice to us.
#pragma once

#include "cpu/kvm/self_test.hpp"
#include "machine/config.hpp"

namespace vellum {

struct EngineChoice {
  std::string engine;
  std::vector<std::string> warnings;  ///< why it is not what one would expect; for when the machine starts
};

/// The engine's name: as asked for, or for `auto` kvm if /dev/kvm passes its self-test, else bt. A /dev/kvm
/// that is there and fails is worth a warning then, and an error if kvm was asked for. Before there are
/// threads: it forks.
Result<EngineChoice> choose_engine(const MachineConfig& config, kvm::KvmApi& api);

}  // namespace vellum
