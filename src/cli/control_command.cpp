#include "cli/control_command.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "api/client.hpp"
#include "base/assert.hpp"
#include "base/write_file.hpp"
#include "cli/one_line.hpp"
#include "cli/size.hpp"
#include "machine/screenshot.hpp"

namespace vellum::cli {
namespace {

Result<> screenshot(const ControlOptions& options) {
  const std::string& file = options.arguments[0];
  VELLUM_TRY_ASSIGN(format, screen_format(file));
  const char* const type = format == ScreenFormat::kText ? "text/plain" : "image/png";
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

// "1536.0 MiB" where it is bytes.
std::string shown(const std::string& name, u64 value) {
  const bool counts = name.ends_with("_faults") || name.starts_with("hugetlb_");
  return counts ? fmt::format("{:>10}", value)
                : fmt::format("{:>10.1f} MiB", static_cast<double>(value) / (1 << 20));
}

Result<> balloon(const ControlOptions& options) {
  if (!options.arguments.empty()) {
    VELLUM_TRY_ASSIGN(size, parse_size(options.arguments[0]));
    return api::set_balloon(options.socket, size);
  }
  VELLUM_TRY_ASSIGN(numbers, api::balloon(options.socket));
  for (const auto& [name, value] : numbers) fmt::print("{:<20} {}\n", one_line(name), shown(name, value));
  return std::fflush(stdout) == 0 ? Result<>() : fail_errno("standard output", errno);
}

// "cdrom", "cdrom1", as the resource of the drive.
Result<std::string> drive_resource(const std::string& name) {
  if (name == "cdrom") return std::string("cdroms/0");
  if (name.size() == 6 && name.starts_with("cdrom") && name[5] >= '0' && name[5] <= '3')
    return fmt::format("cdroms/{}", name[5]);
  return fail(ErrorCode::kInvalidArgument, "'{}': unknown drive; there are cdrom, or cdrom0 to cdrom3", name);
}

Result<> change(const ControlOptions& options) {
  VELLUM_TRY_ASSIGN(drive, drive_resource(options.arguments[0]));
  // The machine may have another working directory.
  std::error_code error;
  const auto path = std::filesystem::absolute(options.arguments[1], error);
  if (error || options.arguments[1].empty())
    return fail(ErrorCode::kInvalidArgument, "'{}': not a file's name", options.arguments[1]);
  return api::change_medium(options.socket, {drive, path.string(), options.has("--force")});
}

Result<> eject(const ControlOptions& options) {
  VELLUM_TRY_ASSIGN(drive, drive_resource(options.arguments[0]));
  return api::change_medium(options.socket, {drive, "", options.has("--force")});
}

constexpr const char* kChangeFooter = R"(
As if somebody had changed the disc in a drive: the guest hears of it. A drive that the guest has locked, as it does
with what it has mounted, keeps its medium; the guest is asked to let go. The machine was started with --control SOCKET
and --cdrom FILE, or --cdrom none for an empty drive.

Examples:
    vellum run debian.qcow2 --cdrom first.iso --control /tmp/debian.sock
    vellum change /tmp/debian.sock cdrom second.iso
    vellum eject /tmp/debian.sock cdrom

Exit status: 0 done; 2 bad command line, no such machine, or it cannot be done; 10 the host failed.)";

constexpr const char* kDriveHelp = "cdrom; of several, cdrom0 to cdrom3";
constexpr const char* kForceHelp = "even if the guest has locked the drive: what it does there fails";

constexpr const char* kBalloonFooter = R"(
Without SIZE: what the guest is asked to do without (target), what it does without (actual), and how its memory stood
when it was asked last, which it is as often as --balloon's stats=SECONDS says. With SIZE: asks it to do without that
much from now on; it takes its time, and may not manage. The machine was started with --control SOCKET and --balloon.

Examples:
    vellum run debian.qcow2 --memory 2G --balloon 0,stats=10 --control /tmp/debian.sock
    vellum balloon /tmp/debian.sock 512M
    vellum balloon /tmp/debian.sock

Exit status: 0 done; 2 bad command line, no such machine, or it has no balloon; 10 the host failed.)";

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
       {},
       kScreenshotFooter,
       screenshot},
      {"balloon",
       "show a running machine's balloon, or give it another size",
       {{"SIZE", "of the guest's memory, as 512M; 0: none", false}},
       {},
       kBalloonFooter,
       balloon},
      {"change",
       "put another medium into a running machine's drive",
       {{"DRIVE", kDriveHelp}, {"FILE", "its image"}},
       {{"--force", kForceHelp}},
       kChangeFooter,
       change},
      {"eject",
       "take the medium out of a running machine's drive",
       {{"DRIVE", kDriveHelp}},
       {{"--force", kForceHelp}},
       kChangeFooter,
       eject},
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
