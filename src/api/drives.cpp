#include "api/drives.hpp"

#include <optional>

#include "api/answers.hpp"
#include "devices/ide/packet.hpp"

namespace vellum::api {
namespace {

std::size_t number_of(const Request& request) {
  return static_cast<std::size_t>(request.target.back() - '0');
}

Json name_or_null(const std::string& file) {
  return file.empty() ? Json() : Json(file);
}

Rest no_cdrom(std::size_t number) {
  return error(
      404,
      fmt::format("this machine has no CD-ROM drive {}; start it with --cdrom FILE or --cdrom none", number));
}

Json cdrom_of(const Machine& machine, std::size_t number) {
  const ide::Tray tray = machine.cdrom_tray(number);
  return {
      {"file", name_or_null(machine.config().cdroms[number])}, {"locked", tray.locked}, {"open", tray.open}};
}

struct Change {
  std::string file;  ///< empty: none
  bool flag = false;
};

// UNTRUSTED: the body. {"file": "/path"}, {"file": null}, and perhaps the flag; nothing: it is something
// else.
std::optional<Change> change_of(const std::string& body, const char* flag) {
  const Json json = Json::parse(body, nullptr, false);
  if (!json.is_object() || !json.contains("file")) return std::nullopt;
  if (json.size() != 1 + json.count(flag)) return std::nullopt;
  Change change;
  if (json.contains(flag)) {
    if (!json[flag].is_boolean()) return std::nullopt;
    change.flag = json[flag].get<bool>();
  }
  const Json& file = json["file"];
  if (file.is_null()) return change;
  if (!file.is_string()) return std::nullopt;
  change.file = file.get<std::string>();
  const bool is_path = change.file.starts_with('/') && change.file.find('\0') == std::string::npos;
  return is_path ? std::optional(change) : std::nullopt;
}

Rest bad_body(const char* flag) {
  return error(400,
               fmt::format(R"(the body is to be {{"file": "/path"}}, an absolute one, or {{"file": null}}; )"
                           R"("{}": true may go with it)",
                           flag));
}

}  // namespace

Rest get_cdrom(Machine& machine, const Request& request) {
  const std::size_t number = number_of(request);
  return number < machine.config().cdroms.size() ? json(cdrom_of(machine, number)) : no_cdrom(number);
}

Rest put_cdrom(Machine& machine, const Request& request) {
  const std::size_t number = number_of(request);
  if (number >= machine.config().cdroms.size()) return no_cdrom(number);
  const auto change = change_of(request.body, "force");
  if (!change) return bad_body("force");
  const auto changed = machine.change_cdrom(number, change->file, change->flag);
  if (!changed) return error(400, changed.error().message);
  if (!*changed)
    return error(409,
                 "the guest has locked the drive, and was asked to let go; have it unmount what is in there, "
                 "and try again, or take it from it with --force");
  return json(cdrom_of(machine, number));
}

}  // namespace vellum::api
