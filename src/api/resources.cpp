#include "api/resources.hpp"

#include "api/answers.hpp"
#include "api/drives.hpp"
#include "base/address.hpp"
#include "base/key_values.hpp"
#include "devices/virtio/balloon.hpp"
#include "io/png.hpp"

namespace vellum::api {
namespace {

Rest get_machine(Machine& machine, const Request&) {
  const MachineConfig& config = machine.config();
  return json({{"state", "running"},
               {"engine", config.engine},
               {"cpus", config.cpus},
               {"memory", config.memory},
               {"board", config.board == BoardKind::kMicro ? "micro" : "pc"},
               {"clock", config.clock == ClockKind::kVirtual ? "virtual" : "real"}});
}

enum class ScreenType : u8 { kPng, kText, kNeither };

// The first in the list that there is; weights are not looked at.
ScreenType wanted_type(std::string_view accept) {
  if (accept.empty()) return ScreenType::kPng;
  while (!accept.empty()) {
    std::string_view range = take_until(accept, ',');
    range = take_until(range, ';');
    while (range.starts_with(' ')) range.remove_prefix(1);
    while (range.ends_with(' ')) range.remove_suffix(1);
    if (range == "image/png" || range == "image/*" || range == "*/*") return ScreenType::kPng;
    if (range == "text/plain" || range == "text/*") return ScreenType::kText;
  }
  return ScreenType::kNeither;
}

Rest get_screen(Machine& machine, const Request& request) {
  const vga::Adapter* const display = machine.display();
  if (display == nullptr) return error(404, "this machine has no display; start it with --vga std");
  switch (wanted_type(request.accept)) {
    case ScreenType::kPng:
      return [screen = display->screen()] {
        const std::vector<u8> png = png_of(screen.width, screen.height, screen.rgb);
        return Response{200, kPng, std::string(png.begin(), png.end()), {}};
      };
    case ScreenType::kText:
      if (std::string text = display->text(); !text.empty())
        return [text = std::move(text)] { return Response{200, kText, text, {}}; };
      return error(406, "the screen shows graphics, which have no text; ask for a PNG");
    case ScreenType::kNeither:
      break;
  }
  return error(406, fmt::format("the screen is image/png or text/plain, not '{}'", request.accept));
}

constexpr const char* kNoBalloon = "this machine has no balloon; start it with --balloon 0";

Json balloon_of(const virtio::Balloon& balloon) {
  const auto report = balloon.report();
  Json statistics = Json::object();
  for (const auto& [name, value] : report.statistics) statistics[std::string(name)] = value;
  return {{"target", u64{report.target} << kPageShift},
          {"actual", u64{report.actual} << kPageShift},
          {"statistics", std::move(statistics)}};
}

Rest get_balloon(Machine& machine, const Request&) {
  const virtio::Balloon* const balloon = machine.balloon();
  return balloon != nullptr ? json(balloon_of(*balloon)) : error(404, kNoBalloon);
}

Rest put_balloon(Machine& machine, const Request& request) {
  if (machine.balloon() == nullptr) return error(404, kNoBalloon);
  const Json body = Json::parse(request.body, nullptr, false);
  if (!body.is_object() || body.size() != 1 || !body.contains("target") ||
      !body["target"].is_number_unsigned())
    return error(400, R"(the body is to be {"target": N}, a whole number of bytes)");
  if (const auto set = machine.set_balloon(body["target"].get<u64>()); !set)
    return error(400, set.error().message);
  return json(balloon_of(*machine.balloon()));
}

struct Resource {
  std::string_view target, method;  ///< a target that ends with '/': and one digit behind it
  bool matches(std::string_view asked) const {
    if (!target.ends_with('/')) return asked == target;
    return asked.size() == target.size() + 1 && asked.starts_with(target) && asked.back() >= '0' &&
           asked.back() <= '9';
  }
  Rest (*answer)(Machine& machine, const Request& request);
};

constexpr Resource kResources[] = {
    {"/v1/machine", "GET", get_machine}, {"/v1/screen", "GET", get_screen},
    {"/v1/balloon", "GET", get_balloon}, {"/v1/balloon", "PUT", put_balloon},
    {"/v1/cdroms/", "GET", get_cdrom},   {"/v1/cdroms/", "PUT", put_cdrom},
};

}  // namespace

Rest answer(Machine& machine, const Request& request) {
  std::string allowed;
  for (const Resource& resource : kResources) {
    if (!resource.matches(request.target)) continue;
    if (resource.method == request.method) return resource.answer(machine, request);
    allowed += fmt::format("{}{}", allowed.empty() ? "" : ", ", resource.method);
  }
  if (allowed.empty())
    return error(404,
                 fmt::format("'{}': there is no such resource; docs/control.md lists them", request.target));
  return [allowed, method = request.method, target = request.target] {
    Response response =
        error_response(405, fmt::format("'{}' has no method {}; there is {}", target, method, allowed));
    response.allow = allowed;
    return response;
  };
}

}  // namespace vellum::api
