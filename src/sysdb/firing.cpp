// Ticks of schedules become workflows.
#include "sysdb/firing.hpp"

#include <algorithm>
#include <set>

#include "platform/planted.hpp"
#include "platform/situations.hpp"
#include "sysdb/announce.hpp"
#include "sysdb/committer_texts.hpp"
#include "sysdb/database.hpp"
#include "value/time_text.hpp"

namespace dbos::sysdb {
namespace {

/// The schedule as it was read, ACTIVE; parameters from `first` on: id and definition.
std::string tied(std::size_t first) {
    const auto parameter = [&first] { return "CAST($" + std::to_string(first++) + " AS TEXT)"; };
    std::string text = "x.schedule_id = " + parameter();
    if (!seam::planted(seam::Bug::tick_of_a_paused_schedule)) text += " AND x.status = 'ACTIVE'";
    for (const char* column : {"workflow_name", "schedule", "context"})
        text += std::string(" AND x.") + column + " = " + parameter();
    for (const char* column : {"workflow_class_name", "cron_timezone", "queue_name"})
        text += std::string(" AND COALESCE(x.") + column + ", '') = COALESCE(" + parameter() + ", '')";
    return text;
}
constexpr std::size_t kTied = 7;

void bind_tied(const ScheduleRow& row, sql::Params& params) {
    for (const std::string* text : {&row.schedule_id, &row.workflow_name, &row.schedule, &row.context})
        params.emplace_back(std::string_view(*text));
    for (const Text* text : {&row.workflow_class_name, &row.cron_timezone, &row.queue_name})
        params.push_back(sql::opt(*text));
}

/// The latest version of the application that the schedule `x` belongs to; `own` = parameter of whoever asks.
std::string latest(std::size_t own) {
    return "(SELECT v.version_name FROM @application_versions v WHERE v.application_name = "
           "COALESCE(x.application_name, CAST($" +
           std::to_string(own) +
           " AS TEXT)) OR v.application_name IS NULL ORDER BY v.version_timestamp DESC LIMIT 1)";
}

/// Whether some SDK has run the tick; `ids` = parameter.
std::string ran(sql::Backend backend, std::size_t ids) {
    const std::string n = "$" + std::to_string(ids);
    return "EXISTS (SELECT 1 FROM @workflow_status w WHERE w.workflow_uuid " +
           (backend == sql::Backend::postgres ? "= ANY(" + n + "::text[])"
                                              : "IN (SELECT value FROM json_each(" + n + "))") +
           ")";
}

constexpr sql::Statement kMoved{
    "schedule_fired",
    "UPDATE @workflow_schedules SET last_fired_at = CAST($2 AS TEXT) WHERE schedule_id = CAST($1 AS TEXT) "
    "AND last_fired_at IS NOT DISTINCT FROM CAST($3 AS TEXT)"};

/// One attempt at a firing.
class Attempted {
   public:
    Attempted(SystemDatabase::Core& core, sql::Connection& connection, const Firing& firing)
        : core_(core),
          connection_(connection),
          statements_(core.start_statements(core.layout(connection))),
          firing_(firing) {
        if (statements_.fire_row.text == nullptr) {
            throw ConfigError("schedules cannot be fired: the system database has version " +
                              std::to_string(statements_.layout.version) +
                              ", and running workflows needs 123; migrate it");
        }
    }

    Fired run() {
        // Most of the time a peer was quicker: then nothing is locked and written. Not for a backfill.
        if (firing_.ticks.size() == 1 && already_done()) {
            seam::reach(seam::Situation::tick_fired_by_peer);
            return {};
        }
        sql::Transaction transaction(connection_);
        Fired fired = postgres() ? insert_postgres() : insert_sqlite();
        if (fired.kind != Fired::Kind::done) {
            if (fired.kind == Fired::Kind::changed)
                seam::reach(seam::Situation::schedule_changed_before_tick);
            transaction.rollback();
            return fired;
        }
        move_last_fired();
        const auto names = queues();
        if (fired.started > 0) notify_in_transaction(core_, connection_, {.queues = names});
        transaction.commit();
        return fired;
    }

    std::vector<std::string> queues() const {
        std::set<std::string> names;
        for (const auto& tick : firing_.ticks) names.insert(tick.row.queue_name.value_or(""));
        return {names.begin(), names.end()};
    }

   private:
    bool postgres() const { return core_.backend == sql::Backend::postgres; }

    bool fired_before(const Text& last_fired_at) const {
        const auto last = fired_instant(last_fired_at);
        return last && *last >= firing_.newest_ms;
    }

    sql::Params look_params(const Firing::Tick& tick) const {
        sql::Params params;
        bind_tied(firing_.schedule, params);
        params.push_back(sql::opt(firing_.application_name));
        params.emplace_back(text_views(tick.ids));
        return params;
    }

    static sql::TextArray text_views(const std::vector<std::string>& texts) {
        return {texts.begin(), texts.end()};
    }

    bool already_done() const {
        const sql::Result found =
            connection_.execute(statements_.fire_look, look_params(firing_.ticks.front()));
        return !found.empty() && found.at(0, 2).boolean() && fired_before(found.at(0, 0).optional_text());
    }

    Fired insert_postgres() {
        std::vector<sql::Call> calls;
        for (const auto& tick : firing_.ticks) {
            sql::Params params;
            statements_.bind_row(tick.row, params);
            params.emplace_back(std::string_view(tick.row.inputs));
            std::ranges::move(look_params(tick), std::back_inserter(params));
            calls.push_back({&statements_.fire_row, std::move(params)});
        }
        const auto results = connection_.pipeline(calls);
        Fired fired;
        for (const sql::Result& result : results) {
            if (result.empty()) return {.kind = Fired::Kind::changed, .started = 0};
            if (result.at(0, 1).null()) return {.kind = Fired::Kind::no_version, .started = 0};
            last_fired_at_ = result.at(0, 0).optional_text();
            fired.started += static_cast<std::size_t>(result.at(0, 3).integer());
        }
        return fired;
    }

    Fired insert_sqlite() {
        const Millis now = core_.clock.now_ms();
        Fired fired;
        for (const auto& tick : firing_.ticks) {
            const sql::Result found = connection_.execute(statements_.fire_look, look_params(tick));
            if (found.empty()) return {.kind = Fired::Kind::changed, .started = 0};
            if (found.at(0, 1).null()) return {.kind = Fired::Kind::no_version, .started = 0};
            last_fired_at_ = found.at(0, 0).optional_text();
            sql::Params params;
            statements_.bind_row(tick.row, params);
            params.emplace_back(now);
            std::ranges::move(look_params(tick), std::back_inserter(params));
            if (connection_.execute(statements_.fire_row, params).affected() == 0) continue;
            insert_input(statements_, connection_, tick.row, now);
            ++fired.started;
        }
        return fired;
    }

    void move_last_fired() {
        if (fired_before(last_fired_at_)) return;
        connection_.execute(kMoved, {std::string_view(firing_.schedule.schedule_id),
                                     std::string_view(firing_.newest), sql::opt(last_fired_at_)});
    }

    SystemDatabase::Core& core_;
    sql::Connection& connection_;
    const CommitterStatements& statements_;
    const Firing& firing_;
    Text last_fired_at_;
};

}  // namespace

std::optional<Millis> fired_instant(const Text& last_fired_at) {
    if (!last_fired_at) return std::nullopt;
    if (const auto instant = parse_epoch_ms(*last_fired_at)) return instant;
    std::string text = *last_fired_at;
    if (text.size() > 16) text.insert(16, ":00");  // 2026-03-01T05:00Z
    return parse_epoch_ms(text);
}

/// Parameters of fire_look: the schedule (tied), the application of whoever fires, the ids of the tick. It gives last_fired_at, the
/// latest version, and whether the tick has run. fire_row has the columns of the row and its inputs (SQLite: its instant of
/// creation) ahead of these, and gives the same and the number of rows inserted (SQLite: as rows affected).
void CommitterStatements::make_firing(sql::Backend backend) {
    fire_look = make("fire_look",
                     "SELECT x.last_fired_at, " + latest(kTied + 1) + ", " + ran(backend, kTied + 2) +
                         " FROM @workflow_schedules x WHERE " + tied(1),
                     sql::Access::read);

    const bool postgres = backend == sql::Backend::postgres;
    const std::size_t extra = columns_.size() + 1;
    const std::size_t own = extra + 1 + kTied;
    std::string values;
    for (std::size_t n = 0; n < columns_.size(); ++n) {
        const StartColumn& column = *columns_[n];
        if (std::string_view(column.name) == "application_version") {
            values +=
                postgres ? "COALESCE(f.version, $" + std::to_string(n + 1) + "::text), " : latest(own) + ", ";
        } else {
            values += "$" + std::to_string(n + 1) + (postgres ? std::string("::") + column.type : "") + ", ";
        }
    }
    const std::string into = "INSERT INTO @workflow_status (" + column_names() + ") SELECT " + values;
    if (!postgres) {
        const std::string stamp = "$" + std::to_string(extra);
        fire_row = make("fire_row", into + stamp + ", " + stamp + " FROM @workflow_schedules x WHERE " +
                                        tied(extra + 1) + " AND " + latest(own) + " IS NOT NULL AND NOT " +
                                        ran(backend, own + 1) + " ON CONFLICT DO NOTHING");
        return;
    }
    // The lock makes whoever pauses, changes or deletes the schedule wait for the firing, and the other way round.
    fire_row = make(
        "fire_row",
        "WITH f AS MATERIALIZED (SELECT x.last_fired_at, " + latest(own) + " AS version, " +
            ran(backend, own + 1) + " AS ran, " + texts::kNow + " AS now FROM @workflow_schedules x WHERE " +
            tied(extra + 1) + " FOR NO KEY UPDATE OF x), s AS (" + into +
            "f.now, f.now FROM f WHERE f.version IS NOT NULL AND NOT f.ran ON CONFLICT DO NOTHING RETURNING "
            "workflow_uuid, created_at), " +
            texts::kInputInto + "SELECT s.workflow_uuid, $" + std::to_string(extra) +
            "::text, s.created_at FROM s" + texts::kInputUpsert +
            "SELECT f.last_fired_at, f.version, f.ran, (SELECT count(*) FROM s) FROM f");
}

Fired SystemDatabase::fire(const Firing& firing) {
    for (const auto& tick : firing.ticks) validate_start(tick.row);
    std::vector<std::string> queues;
    const Fired fired =
        core_->with_lane(core_->maintenance_lane, [&](sql::Connection& connection, const Attempt& attempt) {
            Attempted now(*core_, connection, firing);
            const Fired result = now.run();
            if (result.started > 0 || attempt.ambiguous) queues = now.queues();
            return result;
        });
    tell_after_commit(*core_, {.queues = queues});
    return fired;
}

}  // namespace dbos::sysdb
