"""What several tests share: free ports, deadlines, real servers."""
