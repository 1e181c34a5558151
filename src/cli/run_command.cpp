#include "cli/run_command.hpp"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>

#include "api/resources.hpp"
#include "api/server.hpp"
#include "cli/one_line.hpp"
#include "cli/progress.hpp"
#include "cli/stats_table.hpp"
#include "io/console.hpp"
#include "io/signals.hpp"
#include "machine/machine.hpp"

namespace vellum::cli {
namespace {

constexpr int kCannotBegin = 2;
constexpr int kHostFailed = 10;

int report(const Error& error, int status) {
  fmt::print(stderr, "vellum: {}\n", one_line(error.message));
  return status;
}

// Whether `signal` is of those that end nothing: the terminal was resized, or we are stopped or continued.
bool handle_lightly(int signal, Machine& machine, Console& console) {
  if (signal == SIGWINCH) return machine.console_resized(), true;
  if (signal != SIGTSTP && signal != SIGCONT) return false;
  if (signal == SIGTSTP) {
    console.suspend();
    SignalWaiter::stop_process();
  }
  console.resume();
  machine.console_resized();  // there may have been another while we were stopped
  return true;
}

// A vCPU, or the I/O thread at the end, may be waiting for a reader that never comes.
void abandon_output(Machine& machine, Console& console) {
  console.abandon_output();
  machine.abandon_output();
}

// What came in on the signal descriptor: ends, stops or continues us.
void handle_signal(int signal, Machine& machine, Console& console) {
  if (handle_lightly(signal, machine, console)) return;
  machine.request({Outcome::Kind::kSignal, signal, {}});
  abandon_output(machine, console);
}

// Waits for the guest to end, through any number of its reboots.
Result<Outcome> wait_for_end(Machine& machine, Console& console, SignalWaiter& signals,
                             api::Server* control) {
  for (;;) {
    const int asked = control != nullptr ? control->fd() : -1;  // poll(2) passes over those
    pollfd wait[3] = {{signals.fd(), POLLIN, 0}, {machine.ended_fd(), POLLIN, 0}, {asked, POLLIN, 0}};
    if (::poll(wait, 3, -1) < 0) continue;  // EINTR
    if (wait[0].revents != 0)
      while (const auto signal = signals.next()) handle_signal(*signal, machine, console);
    if (wait[1].revents != 0) {
      VELLUM_TRY_ASSIGN(outcome, machine.settle());
      if (outcome) return std::move(*outcome);
    }
    if (wait[2].revents != 0) control->answer();
  }
}

// Writes out what the guest printed. The reader may have stopped reading, so the I/O thread does the waiting,
// and a signal that ends us ends it. Returns that signal.
Result<std::optional<int>> finish_output(EventLoop& loop, Machine& machine, Console& console,
                                         SignalWaiter& signals) {
  VELLUM_TRY_ASSIGN(event, EventFd::create());
  // Shared: the I/O thread is still within notify() when this function sees it.
  const auto finished = std::make_shared<const EventFd>(std::move(event));
  loop.post([&console, &machine, finished] {
    console.flush();
    machine.flush_output();
    finished->notify();
  });
  std::optional<int> ended_by;
  for (;;) {
    pollfd wait[2] = {{signals.fd(), POLLIN, 0}, {finished->fd(), POLLIN, 0}};
    if (::poll(wait, 2, -1) < 0) continue;  // EINTR
    if (wait[1].revents != 0) return ended_by;
    while (const auto signal = signals.next()) {
      if (handle_lightly(*signal, machine, console)) continue;
      ended_by = *signal;
      abandon_output(machine, console);
    }
  }
}

// Null: nobody asked for it.
Result<std::unique_ptr<api::Server>> open_control(const RunOptions& options, Machine& machine) {
  if (options.control.empty()) return {};
  auto server = api::Server::create(
      options.control, [&machine](const api::Request& request) { return api::answer(machine, request); });
  if (!server) return tl::unexpected(std::move(server).error().context("--control"));
  return server;
}

}  // namespace

int run_command(const RunOptions& options) {
  init_logging(options.log_level);
  restore_terminal_on_crash();
  auto signals = SignalWaiter::create();
  if (!signals) return report(signals.error(), kHostFailed);
  auto loop = EventLoop::create();
  if (!loop) return report(loop.error(), kHostFailed);

  // Everything that can be wrong with the input shows before the terminal changes its mode.
  ProgressLine progress;
  auto machine = Machine::create(
      options.machine, **loop,
      [&progress](std::string_view what, u64 done, u64 total) { progress.update(what, done, total); });
  progress.finish();
  if (!machine) return report(machine.error(), kCannotBegin);

  Machine& guest = **machine;
  auto control = open_control(options, guest);
  if (!control) return report(control.error(), kCannotBegin);
  Result<std::unique_ptr<Console>> console;
  console = Console::create(**loop, STDIN_FILENO, STDOUT_FILENO,
                            {.leave =
                                 [&guest, &console] {
                                   guest.request({Outcome::Kind::kLeft, 0, {}});
                                   abandon_output(guest, **console);
                                 },
                             .input_closed = [] {},
                             .output_closed =
                                 [&guest](int error) {
                                   guest.request({Outcome::Kind::kOutputClosed, 0,
                                                  fail_errno("standard output", error).value().message});
                                 }});
  if (!console) return report(console.error(), kHostFailed);

  guest.attach_console(**console);
  (*loop)->start();
  guest.start();
  if (*control) (*control)->start();
  auto outcome = wait_for_end(guest, **console, *signals, control->get());
  control->reset();
  const auto ended_by = finish_output(**loop, guest, **console, *signals);
  if (outcome && ended_by && *ended_by) outcome = Outcome{Outcome::Kind::kSignal, **ended_by, {}};
  (*loop)->stop();
  (*console)->restore_terminal();
  const auto rows = guest.stats();
  const auto screenshot = guest.write_screenshot();
  machine->reset();

  if (options.stats) std::fputs(stats_table(rows).c_str(), stderr);
  if (!outcome) return report(outcome.error(), kHostFailed);
  if (!screenshot) return report(screenshot.error(), kHostFailed);
  if (outcome->kind == Outcome::Kind::kSignal) SignalWaiter::die_of(outcome->code);
  if (const auto message = describe(*outcome); !message.empty())
    fmt::print(stderr, "vellum: {}\n", one_line(message));
  return exit_status(*outcome);
}

}  // namespace vellum::cli
