// Guest memory given back to the host.
//
// RAM is a file that exists only in memory, mapped several times (the views, and whoever else maps the
// memfd). A hole in the file takes its pages out of all of them at once; the mappings, their protection, and
// the host addresses that engines keep stay as they are, and the next access makes a new page of zeroes. So
// all that an engine has to hear is that bytes changed, as after a device's store: code there is decoded
// again, and the dirty log has seen it. KVM's second set of page tables follows the first by itself.
//
// What is used again comes back page by page: it was asked for before (Residency). Only in a chunk, or 2 MiB,
// that the guest had never touched does a neighbour's first use bring the rest along, once.
#pragma once

#include "memory/guest_ram.hpp"

namespace vellum {

/// Gives the host back what holds `range`, whole pages: they read as zeroes from now on. False if part of it
/// is not RAM, or the host cannot; nothing is changed then. Any thread.
bool give_back(GuestRam& ram, GuestPhysRange range);

}  // namespace vellum
