#include "cli/control_command.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "api/client.hpp"
#include "base/assert.hpp"
#include "base/write_file.hpp"
#include "cli/one_line.hpp"

namespace vellum::cli {
namespace {

Result<> screenshot(const ControlOptions& options) {
  const std::string& file = options.arguments[0];
  const char* const type = file.ends_with(".txt") ? "text/plain" : "image/png";
  VELLUM_TRY_ASSIGN(response, api::call(options.socket, {"GET", "/v1/screen", type, {}}));
  const std::string& body = response.body;
  if (file == "-") {
    if (std::fwrite(body.data(), 1, body.size(), stdout) == body.size() && std::fflush(stdout) == 0)
      return {};
    return fail_errno("standard output", errno);
  }
  // SAFETY: bytes as bytes.
  return write_file(file, {reinterpret_cast<const u8*>(body.data()), body.size()});
}

constexpr const char* kScreenshotFooter = R"(
Writes what a running machine's screen shows now, without stopping it. The machine was started with --control SOCKET.

Examples:
    vellum run debian.qcow2 --control /tmp/debian.sock
    vellum screenshot /tmp/debian.sock screen.png
    vellum screenshot /tmp/debian.sock screen.txt

Exit status: 0 written; 2 bad command line, no such machine, or it has no display; 10 the host failed.)";

std::vector<ControlRow> make_table() {
  return {
      {"screenshot",
       "write a running machine's screen to a file",
       {{"FILE", "a PNG; or the text of a text mode if the name ends in .txt; -: a PNG on standard output"}},
       kScreenshotFooter,
       screenshot},
  };
}

}  // namespace

std::span<const ControlRow> control_table() {
  static const std::vector<ControlRow> table = make_table();
  return table;
}

int control_command(const ControlOptions& options) {
  const auto row = std::ranges::find(control_table(), options.command, &ControlRow::name);
  VELLUM_ASSERT(row != control_table().end(), "command '{}'", options.command);
  const auto done = row->run(options);
  if (done) return 0;
  fmt::print(stderr, "vellum: {}: {}\n", options.command, one_line(done.error().message));
  return done.error().code == ErrorCode::kHost ? 10 : 2;
}

}  // namespace vellum::cli
