#include "machine/load_guest.hpp"

#include "base/log.hpp"

namespace vellum {

Result<> load_guest(Board& board, const MachineConfig& config, const LoadProgress& progress) {
  if (config.kernel.empty()) return {};  // the processor's first instruction is in ROM
  VELLUM_TRY(board.start_like_firmware());
  VELLUM_TRY_ASSIGN(protocol, parse_protocol(config.protocol));
  BootRequest request;
  request.kernel = config.kernel;
  request.initrds = config.initrds;
  request.command_line = config.append;
  request.protocol = protocol;
  const auto identity = board.cpu_model().cpuid(1, 0, {.cpu_count = config.cpus});
  request.firmware = {config.cpus,
                      identity.eax,
                      identity.edx,
                      config.board == BoardKind::kPc,
                      config.memory,
                      board.virtio_mmio_devices(),
                      board.display() != nullptr,
                      board.floppy_drives()};
  VELLUM_TRY_ASSIGN(plan, load(request, board.ram(), progress));
  spdlog::info("{}: {}", config.kernel, plan.description);

  Engine& first = *board.vcpus().front()->engine;
  VcpuState state;
  first.pull(StateMask::kAll, state);
  plan.entry.apply_to(state);
  first.push(StateMask::kAll, state);
  return {};
}

}  // namespace vellum
