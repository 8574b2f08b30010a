// The rare situations that the safety rules are about, each placed in the engine by seam::reach(). The simulator counts them
// over a campaign, and a campaign in which one was never reached has proved nothing about its rule: it fails.
//
// A situation that cannot occur yet (its operation is not built) is not in the list.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dbos::seam {

// X(name, safety rule)
#define DBOS_SITUATIONS(X)                                                                             \
    X(crash_in_commit, "simulation: a process dies in the middle of a write")                          \
    X(parked, "20: a run parks and is replayed")                                                       \
    X(select_recorded, "43: a select records its winner")                                              \
    X(parked_run_lost, "49: a parked run is cancelled or taken over")                                  \
    X(two_runs_in_one_batch, "1: a stale write shares its batch with the token that its row has now")  \
    X(step_fence_lost, "2: a lost fence is a row's result")                                            \
    X(outcome_fence_lost, "2: an outcome of a run that was taken over or cancelled")                   \
    X(child_fence_lost, "36: a child start of a run that was taken over")                              \
    X(own_step_recognised, "2: a lost acknowledgement of a step is told from somebody else's record")  \
    X(own_start_recognised, "13: a lost acknowledgement of a start")                                   \
    X(own_outcome_recognised, "2: a lost acknowledgement of an outcome")                               \
    X(effect_fence_lost, "36: an effect of a run that was taken over or cancelled")                    \
    X(own_effect_recognised, "36: a lost acknowledgement of an effect: what is stored is delivered")   \
    X(sent_to_missing, "36: a message to a workflow that does not exist")                              \
    X(two_appends_in_one_batch, "37: two values of one stream in one batch")                           \
    X(effect_behind_a_failed_one, "36: an effect fails because one of its run before it has failed")   \
    X(start_of_existing, "13: a start of an id that exists")                                           \
    X(batch_repeated, "12: a batch failed and is repeated")                                            \
    X(ownership_rechecked, "4: after a lapse, one statement asks for all runs")                        \
    X(lost_at_recheck, "4: it finds a run that was taken over")                                        \
    X(healed_lapse_seen, "4: a lapse that a renewal has healed still counts")                          \
    X(cancel_seen_by_write, "5: a write finds that its run was cancelled")                             \
    X(cancel_seen_by_tick, "5: the tick finds a cancelled run")                                        \
    X(loss_seen_by_tick, "5: the tick finds a run that was taken over")                                \
    X(own_claim_found, "7: a claim whose acknowledgement was lost is found by its token")              \
    X(orphans_handed_back, "7: rows of ours that no run holds")                                        \
    X(abandoned_handed_back, "7: a row whose run was given up goes back to its queue")                 \
    X(lapsed_lease_waited_for, "7: no claim under a lapsed lease")                                     \
    X(deduplicated, "13: a start meets the holder of its deduplication id")                            \
    X(wake_during_claim, "16: a wake-up arrives during the claim")                                     \
    X(rate_spent, "58: a claim finds that the period has had its starts")                              \
    X(history_read_on, "48: a replay comes to records that its claim did not bring along")             \
    X(spent_seen_by_tick, "58: the tick sees that a limit is used up, and nothing is claimed")         \
    X(partition_full, "55: a partition key is passed over because its limit is used up")               \
    X(head_of_others, "55: the first workflow of a key is of a name that is not implemented here")     \
    X(held_id_refused, "22: a launch under an id whose holder renews")                                 \
    X(id_taken_over, "22: a launch takes an id from a holder that does not renew")                     \
    X(lease_replaced, "23: another process has taken our id")                                          \
    X(slow_renewal, "23: a renewal that takes over a second counts from when it was sent")             \
    X(evidence_starts_anew, "24: a gap in the evidence")                                               \
    X(dead_by_lease, "24: an executor is dead by its lease")                                           \
    X(dead_by_proof, "25: an executor's process is proved dead")                                       \
    X(rows_swept, "26: rows of a dead executor are handed back")                                       \
    X(sweep_judged_wrong, "26: the judged executor has renewed before its sweep")                      \
    X(own_id_recovered, "27: rows that an earlier process of our id left")                             \
    X(delay_due, "a delayed workflow becomes due")                                                     \
    X(deadline_passed, "a deadline passes")                                                            \
    X(shutdown_left_steps, "53: a shutdown leaves steps that still run")                               \
    X(wake_during_check, "16: a wake-up arrives while waits are checked")                              \
    X(managed_repeated, "13: a managing call is repeated")                                             \
    X(ended_row_resumed, "32: a row has been resumed when its payload is read")                        \
    X(wait_withdrawn, "33: a Future of a wait is destroyed")                                           \
    X(unseen_id_waited_for, "33: a wait for an id that does not exist yet")                            \
    X(seen_id_missing, "33: an id that a wait has seen is missing in two checks")                      \
    X(check_repeated, "34: a check of waits failed and is repeated")                                   \
    X(timed_wait_unread, "34: a timed wait ends, and its last read failed")                            \
    X(tick_fired_by_peer, "56: a tick that a peer has fired")                                          \
    X(schedule_changed_before_tick, "56: a schedule changes between its reading and its tick")         \
    X(ticks_passed_over, "57: a process comes so late that ticks are behind it")                       \
    X(ticks_backfilled, "57: ticks that were missed are made up for")                                  \
    X(dead_lettered, "runtime 7: a workflow has killed its process too often")                         \
    X(timeout_seen_again, "runtime 34: a timed-out wait is replayed, and by now its message is there") \
    X(sleep_replayed, "runtime 35: a sleep that has ended is replayed")                                \
    X(left_to_the_latest, "runtime 28: the latest version claims what an older one passes over")       \
    X(waiter_told_by_another, "commits: a run is told of its write by one that was told before it")    \
    X(jobs_held, "threads: a body waits for a thread that is done, while many writes wait")            \
    X(claims_wait_for_writes, "claims: nothing is claimed while many writes wait")                     \
    X(served_beside_a_flood, "claims: a queue is served while another one is flooded")                 \
    X(child_overdue, "runtime 40: a child is cancelled by its parent's deadline")                      \
    X(history_unfit, "runtime 17: a history does not fit the code")                                    \
    X(witness_found, "runtime 20: a transaction has been committed by an earlier attempt")             \
    X(history_cut, "runtime 42: a rewind has cut a history")                                           \
    X(ended_unrun, "runtime 44: a workflow that cannot be run has ended")

enum class Situation : std::uint8_t {
#define DBOS_SITUATION_ENUM(name, rule) name,
    DBOS_SITUATIONS(DBOS_SITUATION_ENUM)
#undef DBOS_SITUATION_ENUM
        count,
};

struct SituationText {
    const char* name;
    const char* rule;
};
inline constexpr SituationText kSituations[] = {
#define DBOS_SITUATION_TEXT(name, rule) {#name, rule},
    DBOS_SITUATIONS(DBOS_SITUATION_TEXT)
#undef DBOS_SITUATION_TEXT
        {nullptr, nullptr}};

}  // namespace dbos::seam
