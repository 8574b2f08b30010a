// Another name for an application: all rows that it owns (py: dbos/_sys_db.py rename_application).
#include <algorithm>

#include "sysdb/manage.hpp"
#include "sysdb/managed_write.hpp"

namespace dbos::sysdb {
namespace {

constexpr const char* kCall = "rename_application";

class Renaming {
   public:
    Renaming(SystemDatabase::Core& core, const Rename& how) : core_(core), how_(how) {}

    Renamed run() {
        managed_write(core_, {.name = kCall, .repeat = Repeat::never}, [this](ManagedWrite& write) {
            done_ = {};
            if (!write.layout.ownership) {
                throw ConfigError("rename_application: this system database (version " +
                                  std::to_string(write.layout.version) +
                                  ") is from before rows had owners; migrate it with a current release");
            }
            done_.queues = all(write, "queues");
            done_.schedules = all(write, "workflow_schedules");
            done_.versions = all(write, "application_versions");
            // One branch per status, each by its own partial index.
            for (const char* status : {"PENDING", "ENQUEUED", "DELAYED"}) {
                done_.workflows +=
                    all(write, "workflow_status", std::string(" AND status = '") + status + '\'');
            }
            if (how_.batch_size) return;
            done_.workflows += all(write, "workflow_status");
            done_.steps = all(write, "operation_outputs");
        });
        if (how_.batch_size) {
            done_.workflows += in_batches("workflow_status");
            done_.steps += in_batches("operation_outputs");
        }
        return done_;
    }

   private:
    std::string owned() const {
        std::string text;
        if (how_.old_name) text = "application_name = $2";
        if (how_.adopt_unclaimed)
            text += std::string(text.empty() ? "" : " OR ") + "application_name IS NULL";
        return '(' + text + ')';
    }
    sql::Params names() const {
        sql::Params params{std::string_view(how_.new_name)};
        if (how_.old_name) params.emplace_back(std::string_view(*how_.old_name));
        return params;
    }

    std::int64_t all(ManagedWrite& write, const std::string& table, const std::string& more = {}) const {
        return write.write("UPDATE @" + table + " SET application_name = $1 WHERE " + owned() + more, names())
            .affected();
    }

    /// Walks over the table in the order of ids, one transaction a range.
    std::int64_t in_batches(const std::string& table) const {
        std::int64_t total = 0;
        std::string from;
        for (bool more = true; more;) {
            std::string to;
            std::int64_t changed = 0;
            managed_write(core_, {.name = kCall}, [&](ManagedWrite& write) {
                const char* const cast = write.postgres() ? "::bigint" : "";
                const sql::Result last = write.connection.query(
                    "SELECT max(r.id) FROM (SELECT workflow_uuid AS id FROM @" + table +
                        " WHERE workflow_uuid > $1 ORDER BY workflow_uuid LIMIT $2" + cast + ") r",
                    {std::string_view(from), *how_.batch_size});
                more = !last.empty() && !last.at(0, 0).null();
                changed = 0;
                if (!more) return;
                to = last.at(0, 0).string();
                sql::Params params = names();
                params.emplace_back(std::string_view(from));
                params.emplace_back(std::string_view(to));
                const std::string upper = '$' + std::to_string(params.size());
                const std::string lower = '$' + std::to_string(params.size() - 1);
                changed =
                    write
                        .write("UPDATE @" + table + " SET application_name = $1 WHERE workflow_uuid > " +
                                   lower + " AND workflow_uuid <= " + upper + " AND " + owned(),
                               params)
                        .affected();
            });
            total += changed;
            from = to;
        }
        return total;
    }

    SystemDatabase::Core& core_;
    const Rename& how_;
    Renamed done_;
};

}  // namespace

Renamed SystemDatabase::rename_application(const Rename& how) {
    if (how.old_name && layout().executors_permitted) {
        const Millis now = durable_now();
        for (const LeaseRow& lease : list_leases(*how.old_name)) {
            if (lease.released || lease.expires_at <= now) continue;
            throw ConfigError("rename_application: application \"" + *how.old_name +
                              "\" is running (executor \"" + lease.executor_id +
                              "\"); shut down all of its executors first");
        }
    }
    return Renaming(*core_, how).run();
}

}  // namespace dbos::sysdb
