// What the client of a world does beside enqueueing and waiting: it manages, sends, forks, debounces, deletes, waits for what
// never comes, and writes in transactions of its own. Each errand has workflows of its own, and can be done again from its
// beginning by a client that was started again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "workload.hpp"

namespace dbos::sim {

enum class ErrandKind : std::uint8_t {
    resume,        // of a cancelled workflow, while somebody waits for it
    remove,        // a workflow is deleted, while somebody waits for it
    fork,          // of one that has ended, from one of its steps
    send,          // each message twice
    debounce,      // a burst of three
    bulk,          // three at once, waited for as a group
    rearrange,     // delay, priority and attributes of one that waits
    wait_in_vain,  // for an event and a stream that nobody writes, and not for a result
    transaction,   // the client's own, on its own connection; some are undone
    count,         // of those that are drawn alike
    talk,          // a workflow that sends, sets events and writes streams, which are read
    duet,          // two that wait for each other
    schedule,      // one that ticks every second is made, changed, paused, resumed and deleted
    crowd,         // many on a queue with a rate or with partitions, one key flooded
    rewind,        // of one that has ended, twice
    fragile,       // one that kills its process
    deadline,      // of a parent, whose children would take longer
    unrunnable,    // inputs, ids, formats and roles with which nothing can be run
    flood,         // one queue is flooded, and others are used
    reform,        // a fork of one that has ended, whose code has changed
    books,         // transactions in a file of the program and in the system database
};

inline constexpr auto kErrandKinds = static_cast<std::uint64_t>(ErrandKind::count);

struct Errand {
    ErrandKind kind{};
    std::string id;  // of its first workflow; others begin with it
    std::int64_t bits = 0;
};

/// Does them all. What callers are told goes to `known`. Throws what the client throws.
void do_errands(Client& client, const std::vector<Errand>& errands, Known& known, Nanos pace,
                const std::string& path);

}  // namespace dbos::sim
