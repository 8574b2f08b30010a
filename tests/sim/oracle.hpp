// What must hold in every committed state and at the end, asked by plain SQL and with no help of the engine.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "workload.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace dbos::sim {

/// Tables, as places in Oracle::changed_.
struct Watched {
    enum Table : std::uint8_t { rows, outputs, leases, steps, inputs, versions, count };
};

class Oracle final : public StepWatch {
   public:
    /// `lease`: no executor that renewed more recently than this may lose a row.
    Oracle(std::string path, Nanos lease, const Known& known);
    ~Oracle() override;

    /// What the last judged state says of a workflow: its status ("" = no row), the process that has it (-1 = none), its
    /// records.
    std::string status(const std::string& id) const;
    int process_of(const std::string& id) const;
    int steps(const std::string& id) const;
    /// Nothing goes wrong in this world: what the next tick sees has to happen within seconds. `apps`: so many serve from their
    /// launch to the end; 0 = they come and go.
    void nothing_goes_wrong(int apps) {
        calm_ = true;
        serving_ = static_cast<std::size_t>(apps);
    }
    /// A start failed, and its caller was told that it was certainly not done.
    void refused(const std::string& id);

    /// The process will run this executor, when it has its lease. `version`: given where processes differ in it.
    void executor(const std::string& executor_id, int process, const std::string& version = {}) {
        processes_[executor_id].insert(process);
        if (!version.empty()) versions_[process] = version;
        if (!version.empty() && latest_.empty()) note_latest();
    }
    /// A connection changes a row of a table, perhaps in a transaction that is not committed.
    void changed(std::string_view table, std::int64_t rowid);
    /// After every write transaction in a file: if it is that of the system database, compares the rows that were changed with what they were before.
    void committed(const std::string& path);
    /// A step that is recorded, or whose workflow is somebody else's, must not begin.
    void begins(const std::string& executor_id, const std::string& workflow_id, int step,
                int attempt) override;
    void ends(const std::string& executor_id, const std::string& workflow_id) override;
    void body(const std::string& executor_id, const std::string& workflow_id, bool begins) override;
    void slept(const std::string& workflow_id, int n, Nanos length) override;
    void told(const std::string& workflow_id, std::size_t n, const std::string& value) override;
    bool dies(const std::string& workflow_id) override;
    /// At the end of the world.
    void final_state();
    /// Rows that have not ended, in words; empty = none.
    std::string unfinished();
    bool all_ended();

   private:
    struct Row {
        std::string status, executor, owner, queue, outcome;
        Nanos ended_at = 0;
        std::string key = {};
        std::int64_t priority = 0, created_at = 0;
        std::optional<std::int64_t> started_at = {};  // that counts for a rate
        std::string name = {}, version = {}, parent = {};
        std::string identity = {};  // what nobody may change
        std::string attributes = {};
        std::int64_t attempts = 0;
        std::optional<std::int64_t> deadline = {}, timeout = {};
        Nanos since = 0;  // it has this status
    };
    struct Lease {
        std::string incarnation;
        std::int64_t counter = 0;
        Nanos renewed_at = 0;
        int process = -1;
    };
    using Line = std::vector<std::optional<std::string>>;
    struct Changes {
        std::vector<Line> leases, rows, steps, inputs;
        bool versions = false;
        std::vector<std::int64_t> gone;  // rowids of workflows
    };
    /// Nothing if the database cannot be read now (a process died or stopped while it held the header of the log).
    std::optional<std::vector<Line>> ask(const std::string& sql, const std::vector<std::string>& values = {});
    std::optional<Changes> read_changes(bool everything);
    void judge(bool everything);
    void note_row(const Line& line, std::map<std::string, Row>& before);
    void note_lease(const Line& line);
    void note_step(const Line& line);
    void note_input(const Line& line);
    void note_latest();
    void judge_row(const std::string& id, const Row& before, const Row& now);
    void judge_limits();
    void judge_rate(const char* queue, const Rate& rate, std::vector<std::int64_t> starts) const;
    void judge_order(const std::string& id, const Row& before, const Row& now) const;
    bool resumed_a_moment_ago(const std::string& id) const;
    void judge_steps();
    void judge_errands();
    void none(const std::string& what, const std::string& sql);
    void judge_effects();
    void judge_streams();
    void judge_rows();
    void judge_tick(const std::string& id);
    void judge_ticks();
    void judge_birth(const std::string& id, const Row& row) const;
    void judge_change(const std::string& id, const Row& before, const Row& now);
    void judge_attempts(const std::string& id, const Row& before, const Row& now);
    void judge_version(const std::string& id, const Row& before, const Row& now) const;
    void judge_cut(const std::string& id, int cut);
    void judge_run(const std::string& id);
    void judge_attempt(const std::string& id, int step, int attempt);
    void judge_calm();
    void judge_service(const Row& row, const std::string& id) const;
    void judge_ends();
    void judge_forks();
    void judge_misfits();
    void judge_books();
    bool version_fits(const std::string& executor_id, const std::string& version) const;

    const std::string path_;
    const Nanos lease_;
    const Known& known_;
    sqlite3* database_ = nullptr;
    std::map<std::string, sqlite3_stmt*> statements_;
    std::set<std::int64_t> changed_[Watched::count];  // rowids that the next look must read
    std::map<std::string, Row> rows_;
    std::map<std::int64_t, std::string> ids_;         // rowid → workflow
    std::map<std::string, std::set<int>> processes_;  // of an executor id
    std::map<std::string, Lease> leases_;
    bool calm_ = false;
    std::size_t serving_ = 0;
    Nanos all_serve_since_ = 0;
    std::map<std::string, Nanos> slot_free_since_;  // of queues in which somebody waits
    bool missed_ = false;                           // a state could not be read
    bool exact_ = true;                             // this look shows one transaction, not several
    int crashes_ = 0;
    std::map<std::string, std::string> inputs_;
    std::map<int, std::string> versions_;                // process → version, where they differ
    std::string latest_;                                 // version
    std::map<std::string, Nanos> latest_until_;          // of those that were the latest
    std::map<std::string, std::set<std::string>> runs_;  // workflow → owners whose body has begun
    struct Try {
        std::string owner;
        int process = -1, attempt = 0;
    };
    std::map<std::pair<std::string, int>, Try> tries_;  // workflow and step → the last attempt
    std::map<std::string, int> deaths_;
    std::map<std::string, std::vector<std::string>> told_;
    std::set<std::pair<std::string, int>> slept_;
    std::map<std::string, Nanos> cancelled_at_;                      // of those that may be resumed
    std::map<int, std::multimap<std::string, std::string>> bodies_;  // process → workflow, token
    std::map<std::string, Nanos> last_step_;  // of executor and workflow: when a callable ended
    std::map<std::string, std::set<std::string>>
        narrow_bodies_;  // executor → bodies of the worker-limited queue
    std::map<std::string, std::map<int, std::string>> steps_;  // workflow → step → record
};

}  // namespace dbos::sim
