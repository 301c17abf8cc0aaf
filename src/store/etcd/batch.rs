//! What is to be written, in portions that etcd takes as one transaction.

/// etcd refuses a transaction of more operations than 128, unless told otherwise by its option `--max-txn-ops`. One
/// place is left for what a writer adds to each of its transactions.
const OPERATIONS_PER_TRANSACTION: usize = 127;

/// Keys and texts of one transaction; etcd refuses a request of more than 1.5 MiB.
const TRANSACTION_SIZE_BYTES: usize = 1 << 20;

/// Splits operations, in their order. An operation that is too large by itself is a batch of its own.
pub(super) fn batches<T>(operations: impl IntoIterator<Item = T>, size_bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut batches: Vec<Vec<T>> = Vec::new();
    let mut batch_bytes = 0;
    for operation in operations {
        let own_bytes = size_bytes(&operation);
        batch_bytes += own_bytes;
        match batches.last_mut() {
            Some(batch) if batch.len() < OPERATIONS_PER_TRANSACTION && batch_bytes <= TRANSACTION_SIZE_BYTES => {
                batch.push(operation);
            }
            _ => {
                batch_bytes = own_bytes;
                batches.push(vec![operation]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(texts: &[String]) -> Vec<usize> {
        batches(texts, |text| text.len()).iter().map(Vec::len).collect()
    }

    #[test]
    fn a_transaction_has_as_many_operations_as_etcd_takes() {
        assert_eq!(sizes(&vec!["x".to_owned(); 300]), [127, 127, 46]);
    }

    #[test]
    fn long_texts_are_spread_over_transactions() {
        assert_eq!(sizes(&vec!["x".repeat(400_000); 5]), [2, 2, 1]);
    }
}
