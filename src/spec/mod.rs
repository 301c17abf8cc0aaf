//! Reading what operators write.
