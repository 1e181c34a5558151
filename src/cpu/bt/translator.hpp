// The binary translator: 64-bit guest code becomes host code, a unit at a time, once it has run a few times;
// all else is the interpreter's, which also delivers every event, steps, and watches breakpoints
// (docs/design/binary-translation.md).
#pragma once

#include <deque>

#include "cpu/bt/code_cache.hpp"
#include "cpu/bt/context_numbers.hpp"
#include "cpu/bt/emitter.hpp"
#include "cpu/bt/host_faults.hpp"
#include "cpu/bt/options.hpp"
#include "cpu/bt/perf_map.hpp"
#include "cpu/bt/routines.hpp"
#include "cpu/bt/vcpu_block.hpp"

namespace vellum::bt {

class Translator final : public Engine, private interp::UnitRunner, private HostFaultTaker {
 public:
  /// As interp::Interpreter.
  Translator(unsigned index, AddressSpace& space, VcpuBoard& board, Clock& clock, const x86::CpuModel& model,
             Hazards& hazards, const Options& options);
  ~Translator() override;

  Exit run(Budget budget) override;
  void pull(StateMask groups, VcpuState& to) override { interp_.pull(groups, to); }
  void push(StateMask groups, const VcpuState& from) override { interp_.push(groups, from); }
  void invalidate(GuestPhysRange range) override { interp_.invalidate(range); }
  u64 retired() const override { return interp_.retired(); }
  u64 steps() const override { return interp_.steps(); }
  void stats(std::vector<StatRow>& rows) const override;

  Vcpu& vcpu() { return interp_.vcpu(); }

 private:
  /// A unit's code for one guest-virtual address.
  struct Translation {
    u64 linear = 0;
    const u8* linked = nullptr;
    const u8* entered = nullptr;
    const u8* refuse = nullptr;   ///< leaves with RIP at the unit's start
    Translation* next = nullptr;  ///< the same unit at another address, or an earlier translation
    bool stale = false;           ///< only leads to a later translation
  };
  struct Link {
    const u8* at = nullptr;     ///< the displacement of the jump
    const u8* guard = nullptr;  ///< what is compared with Context::code_serial, if anything is
    u64 target = 0;
    bool forward = false;
  };

  interp::Flow run(const interp::Unit& unit, u32 key, u64 limit, u64& done) override;
  void units_dropped() override { flush(); }

  const Translation* find(const interp::Unit& unit, u64 linear);
  const Translation* translate(const interp::Unit& unit, u64 linear);
  void open_flat_tables();
  void access_again();
  void give_up_flat(const Site& site);
  void redirect(const Translation& from, const u8* linked, const u8* entered);
  bool decode(const interp::Unit& unit);
  void link(const Link& from, const Translation& to);
  void flush();
  void select_code_contexts(u32 key);
  JumpEntry& jump_entry(u64 linear, u64& tag);
  const u8* go_on(interp::Flow flow);

  // trace.cpp
  void trace_unit(const interp::Unit& unit, u64 linear, const Emitter& emitter,
                  std::span<const u8> host) const;
  void trace_leave(Leave why) const;

  u64 run_site(const Site& site);
  SlowAccess slow_access(const Site& site, u64 linear);
  u64 code_store(const Site& site, const u8* host);
  u64 open_needed_vectors(u32 needed);
  void catch_up(const Site& site);
  bool take_host_fault(gregset_t& registers) override;
  u64 host_fault(const Site& site, u64 linear);
  u64 finish(const Site& site, interp::Flow flow);

  Options options_;
  VcpuBlock block_;
  interp::Interpreter& interp_;
  Vcpu& v_;
  Context& context_;
  Distances distances_;
  CodeCache cache_;
  PerfMap perf_map_;
  Routines routines_;
  std::size_t routines_end_ = 0;

  ContextNumbers code_contexts_;
  std::array<u64, 2> code_stamps_{};  ///< what Context::code_context was selected for
  u32 code_key_ = 0;
  u32 epoch_ = 1;
  std::deque<Translation> translations_;
  std::deque<Site> sites_;
  /// Where translated code may fault in the host, ascending: offsets in the code cache.
  struct FaultRange {
    u32 begin, end;
    const Site* site;
  };
  std::vector<FaultRange> fault_ranges_;
  std::unique_ptr<FlatTables> flat_;
  /// The access that last ended in a page fault: its instruction is likely to run again.
  struct Retry {
    u64 rip = 0;
    u64 linear = 0;
    bool armed = false;
  } retry_;
  std::vector<Link> links_;
  std::optional<u32> pending_link_;
  bool closed_ = false;  ///< the next unit begins with vector instructions that its handlers must run
  std::vector<x86::Decoded> decoded_;

  Counter translated_units_, translated_instructions_, refused_, flushes_, entries_, linked_, called_out_,
      slow_accesses_, continued_, vector_loads_, closed_units_, host_faults_, given_up_;
  std::unique_ptr<Counter[]> called_out_by_;
};

}  // namespace vellum::bt
