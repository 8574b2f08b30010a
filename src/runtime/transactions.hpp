// Datasources as an executor knows them: which ones its runs have used, what the rows of a run are named by, and their removal.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "platform/seam.hpp"
#include "runtime/datasource.hpp"
#include "sysdb/records.hpp"

namespace dbos::runtime {

class Executor;
class Run;

class Transactions {
   public:
    explicit Transactions(Executor& executor) : executor_(executor) {}

    /// register_datasource(): its table is created at launch, and a rewind removes what it has to there.
    void add(std::shared_ptr<Datasource> datasource);
    /// Creates the tables of those. Throws what that throws.
    void launch();
    /// The system database as a datasource, made at the first call.
    std::shared_ptr<Datasource> system_datasource(bool sqlite);
    void bind(std::shared_ptr<sysdb::SystemDatabase> database);
    /// Transactions in the system database fail from now on.
    void close() noexcept;

    /// What the rows of this run are named by: `<id>#<what tells this life of the id from others>` (safety 39).
    std::string key_of(Run& run);
    void used(const Run& run, const std::shared_ptr<Datasource>& datasource);
    /// Just before the outcome: the run's rows have no use any more. Best effort.
    void forget(Run& run) noexcept;
    /// The run is over.
    void ended(const Run& run) noexcept;
    /// A rewind of a workflow that has ended will run the steps from `from` on again: their rows in the registered datasources
    /// must not answer for them. To be called before the rewind. Throws DatabaseError.
    void forget_from(const std::string& workflow_id, std::int64_t from);

   private:
    struct Used {
        std::string key = {};
        std::vector<std::shared_ptr<Datasource>> datasources = {};
    };
    std::string read_key(const std::string& workflow_id);

    Executor& executor_;
    seam::Mutex mutex_;  // guards what follows
    std::vector<std::shared_ptr<Datasource>> registered_;
    std::shared_ptr<Datasource> system_;
    std::shared_ptr<sysdb::SystemDatabase> database_;
    std::map<sysdb::Fence, Used> used_;
};

}  // namespace dbos::runtime
