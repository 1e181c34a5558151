// What `--trace bt,exits` says of the translator.
#include "cpu/bt/dump.hpp"
#include "cpu/bt/translator.hpp"

namespace vellum::bt {

void Translator::trace_unit(const interp::Unit& unit, u64 linear, const Emitter& emitter,
                            std::span<const u8> host) const {
  const UnitDump dump{
      .linear = linear,
      .physical = unit.start,
      .guest = decoded_,
      .host = host,
      .starts = emitter.starts(),
      .state_distance = distances_.state,
      .name_of = [this, &unit](u64 address) -> std::string {
        const auto is = [address](const void* p) { return address == reinterpret_cast<u64>(p); };
        if (is(&unit.page->generation)) return "generation";
        if (unit.crosses() && is(&unit.second->generation)) return "generation of the second page";
        // The unit's own sites are the newest.
        const auto& sites = era_->sites;
        for (auto site = sites.rbegin(); site != sites.rend() && site - sites.rbegin() < 256; ++site)
          if (is(&*site)) return "site";
        return {};
      },
  };
  v_.trace.text(dump_unit(dump));
}

void Translator::trace_leave(Leave why) const {
  const char* text = "";
  switch (why) {
    case Leave::kJump:
      text = "nothing translated is known at";
      break;
    case Leave::kLink:
      text = "not linked yet to";
      break;
    case Leave::kClosed:
      text = "vector instructions that may not run natively now, from";
      break;
    case Leave::kFlow:
      text = "an instruction ended translated code, RIP";
      break;
  }
  v_.trace.line("exits: {} {:x}", text, v_.state.rip);
}

}  // namespace vellum::bt
